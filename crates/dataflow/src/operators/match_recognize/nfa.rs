//! The automaton of a pattern, as Flink's CEP library builds it, for rows that follow each other without gaps.

use highwater_stream::{EventTime, PatternVariable};

use super::queue::Queue;

/// A state's number.
pub(super) type StateId = usize;

/// More states are refused: `{n}` takes n of them.
const STATES_MAX: usize = 4096;

/// Position of no row: the attempt that waits for its first row.
pub(super) const NOT_STARTED: u64 = u64::MAX;

/// A match in the making. Rows follow each other and variables stand in their order, so how many rows each
/// variable has says which.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Attempt {
    /// Where it stands.
    pub(super) state: StateId,
    /// Its first row's position among the key's rows, or [`NOT_STARTED`].
    pub(super) start: u64,
    /// Its first row's time.
    pub(super) start_time: EventTime,
    /// Per variable, how many rows it has.
    pub(super) counts: Vec<u32>,
    /// Per group of aggregates, those over the rows so far.
    pub(super) folds: Vec<Fold>,
}

/// Aggregates over the first rows of a variable.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Fold {
    /// How many rows they cover.
    pub(super) rows: u32,
    /// The aggregates' state, empty over no rows.
    pub(super) state: Vec<u8>,
}

/// Which conditions were evaluated on a row in an attempt, and which are true. One bit per variable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Truth {
    pub(super) known: u64,
    pub(super) value: u64,
}

/// A row that an attempt takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Take {
    /// The variable it falls to.
    variable: usize,
    /// Where the attempt stands then.
    target: StateId,
    /// The match may also end here, although more rows may follow.
    ends: bool,
}

#[derive(Debug)]
struct State {
    /// The variable whose rows it takes; none: the final state.
    variable: Option<usize>,
    edges: Vec<Edge>,
}

#[derive(Clone, Debug)]
struct Edge {
    /// Takes the row, or looks at the same row from the target.
    takes: bool,
    target: StateId,
    /// The conditions that must be true, or false, in the order in which they are evaluated.
    conditions: Vec<(usize, bool)>,
}

/// The automaton. State 0 is final.
#[derive(Debug)]
pub(super) struct Nfa {
    states: Vec<State>,
    start: StateId,
    variables: usize,
}

const FINAL: StateId = 0;

impl Nfa {
    pub(super) fn new(variables: &[PatternVariable]) -> Result<Self, String> {
        let last = State { variable: None, edges: Vec::new() };
        let mut nfa = Self { states: vec![last], start: FINAL, variables: variables.len() };
        for (index, variable) in variables.iter().enumerate().rev() {
            let most = variable.max.unwrap_or(variable.min).max(1) as usize;
            if nfa.states.len().saturating_add(most) > STATES_MAX {
                return Err(format!("a pattern of more than {STATES_MAX} states: use smaller repetitions"));
            }
            nfa.start = nfa.convert(index, variable, nfa.start);
        }
        Ok(nfa)
    }

    /// The attempt that waits for its first row.
    pub(super) fn waiting(&self, folds: usize) -> Attempt {
        Attempt {
            state: self.start,
            start: NOT_STARTED,
            start_time: 0,
            counts: vec![0; self.variables],
            folds: vec![Fold::default(); folds],
        }
    }

    pub(super) fn has_state(&self, state: StateId) -> bool {
        state < self.states.len()
    }

    fn state(&mut self, variable: usize) -> StateId {
        self.states.push(State { variable: Some(variable), edges: Vec::new() });
        self.states.len() - 1
    }

    /// The states of a variable in front of `sink`; returns the first.
    fn convert(&mut self, index: usize, variable: &PatternVariable, sink: StateId) -> StateId {
        let least = variable.min.max(1);
        let optional = variable.min == 0;
        match variable.max {
            None => {
                let looping = self.state(index);
                self.proceed(looping, sink);
                if variable.greedy {
                    self.restrict(sink, index);
                }
                self.take(looping, index, looping);
                self.repeated(index, (looping, sink), 0, least, optional)
            }
            Some(most) => {
                if variable.greedy && most != least {
                    self.restrict(sink, index);
                }
                self.repeated(index, (sink, sink), most.saturating_sub(least), least, optional)
            }
        }
    }

    /// `least` states of which only the first may be left out, then `more` that may.
    fn repeated(
        &mut self,
        index: usize,
        (sink, proceed): (StateId, StateId),
        more: u32,
        least: u32,
        optional: bool,
    ) -> StateId {
        let mut last = sink;
        for _ in 0..more {
            last = self.single(index, last, Some(proceed));
        }
        for _ in 1..least {
            last = self.single(index, last, None);
        }
        self.single(index, last, optional.then_some(proceed))
    }

    fn single(&mut self, index: usize, sink: StateId, proceed: Option<StateId>) -> StateId {
        let state = self.state(index);
        self.take(state, index, sink);
        if let Some(proceed) = proceed {
            self.proceed(state, proceed);
        }
        state
    }

    fn take(&mut self, from: StateId, variable: usize, target: StateId) {
        let edge = Edge { takes: true, target, conditions: vec![(variable, true)] };
        self.states[from].edges.push(edge);
    }

    fn proceed(&mut self, from: StateId, target: StateId) {
        self.states[from].edges.push(Edge { takes: false, target, conditions: Vec::new() });
    }

    /// What a greedy variable takes, the state behind it does not.
    fn restrict(&mut self, state: StateId, variable: usize) {
        for edge in &mut self.states[state].edges {
            edge.conditions.push((variable, false));
        }
    }

    /// How an attempt in `state` takes a row for which the conditions are as in `truth`.
    ///
    /// # Errors
    /// The conditions that are evaluated next, as bits.
    pub(super) fn takes(&self, state: StateId, truth: Truth, takes: &mut Vec<Take>) -> Result<(), u64> {
        takes.clear();
        let mut missing = 0;
        let mut states = vec![state];
        while let Some(state) = states.pop() {
            let State { variable, edges } = &self.states[state];
            for edge in edges {
                match edge.holds(truth) {
                    Err(condition) => missing |= condition,
                    Ok(false) => {}
                    Ok(true) if !edge.takes => states.push(edge.target),
                    Ok(true) => {
                        let Some(variable) = *variable else { continue };
                        let ends = self.ends_behind(edge.target, truth).unwrap_or_else(|condition| {
                            missing |= condition;
                            false
                        });
                        takes.push(Take { variable, target: edge.target, ends });
                    }
                }
            }
        }
        if missing == 0 { Ok(()) } else { Err(missing) }
    }

    /// Whether the final state can be reached from `state` without a further row.
    fn ends_behind(&self, state: StateId, truth: Truth) -> Result<bool, u64> {
        let mut states = vec![state];
        while let Some(state) = states.pop() {
            for edge in self.states[state].edges.iter().filter(|edge| !edge.takes) {
                if edge.holds(truth)? {
                    if edge.target == FINAL {
                        return Ok(true);
                    }
                    states.push(edge.target);
                }
            }
        }
        Ok(false)
    }

    /// Puts what becomes of `attempt` with the row at `position` into `partial` and `complete`.
    pub(super) fn apply(
        &self,
        attempt: Attempt,
        takes: &[Take],
        (position, time): (u64, EventTime),
        partial: &mut Queue,
        complete: &mut Queue,
    ) {
        if let [take] = takes
            && attempt.start != NOT_STARTED
            && !take.ends
        {
            let mut next = attempt;
            next.counts[take.variable] += 1;
            next.state = take.target;
            if take.target == FINAL {
                complete.push(next)
            } else {
                partial.push(next)
            }
            return;
        }
        for take in takes {
            let mut next = attempt.clone();
            if next.start == NOT_STARTED {
                (next.start, next.start_time) = (position, time);
            }
            next.counts[take.variable] += 1;
            next.state = take.target;
            if take.ends {
                let mut ended = next.clone();
                ended.state = FINAL;
                complete.push(ended);
            }
            if take.target == FINAL { complete.push(next) } else { partial.push(next) }
        }
        if attempt.start == NOT_STARTED {
            partial.push(attempt);
        }
    }
}

impl Attempt {
    /// Where the rows of a variable (none: all rows) start, and how many there are.
    pub(super) fn span(&self, variable: Option<usize>) -> (u64, u32) {
        let rows = |counts: &[u32]| counts.iter().sum::<u32>();
        match variable {
            None => (self.start, rows(&self.counts)),
            Some(variable) => {
                let before = u64::from(rows(&self.counts[..variable]));
                (self.start.wrapping_add(before), self.counts[variable])
            }
        }
    }
}

impl Edge {
    /// # Errors
    /// The condition that is evaluated next, as a bit.
    fn holds(&self, truth: Truth) -> Result<bool, u64> {
        for (condition, expected) in &self.conditions {
            let bit = 1 << condition;
            if truth.known & bit == 0 {
                return Err(bit);
            }
            if (truth.value & bit != 0) != *expected {
                return Ok(false);
            }
        }
        Ok(true)
    }
}
