use expect_test::{Expect, expect};
use highwater_env::{Entropy, SeededEntropy};

use super::*;

fn options(instances: usize, open: usize) -> ProtocolOptions {
    ProtocolOptions {
        pipeline: "p".to_owned(),
        fingerprint: "f".to_owned(),
        shards: 1,
        instances,
        chain_files_max: 3,
        epochs_open_max: open,
    }
}

fn show(action: &Action) -> String {
    match action {
        Action::Inject { barrier, full } => {
            format!("inject {} {:?} full={full}", barrier.epoch, barrier.kind)
        }
        Action::StoreSnapshot { epoch, .. } => format!("store snapshot {epoch}"),
        Action::StoreManifest(manifest) => {
            let chain: Vec<&str> = manifest.chain.iter().map(|file| file.name.as_str()).collect();
            format!("store manifest {} chain={chain:?} finished={}", manifest.epoch, manifest.finished)
        }
        Action::Commit { epoch, .. } => format!("commit {epoch}"),
        Action::Release { epoch, keep } => format!("release {epoch} keep={keep:?}"),
        Action::Finish { input_ended } => format!("finish input_ended={input_ended}"),
    }
}

fn snapshot(epoch: u64, instance: usize) -> Fact {
    Fact::Snapshot { epoch: Epoch(epoch), instance, taken: InstanceSnapshot::default() }
}

fn stored(epoch: u64) -> Fact {
    Fact::SnapshotStored { epoch: Epoch(epoch), stored: Some((format!("{epoch}.snap"), 1)) }
}

fn check(protocol: &mut EpochProtocol, facts: Vec<Fact>, expected: Expect) {
    let actions = facts.into_iter().flat_map(|fact| protocol.decide(fact));
    let lines: Vec<String> = actions.map(|action| show(&action)).collect();
    expected.assert_eq(&lines.join("\n"));
}

#[test]
fn an_epoch_from_due_to_committed() {
    let mut protocol = EpochProtocol::new(options(2, 1), None);
    check(&mut protocol, vec![Fact::EpochDue, Fact::EpochDue], expect!["inject 1 Checkpoint full=true"]);
    check(&mut protocol, vec![snapshot(1, 0), snapshot(1, 0), snapshot(2, 1)], expect![""]);
    check(&mut protocol, vec![snapshot(1, 1)], expect!["store snapshot 1"]);
    check(&mut protocol, vec![Fact::ManifestStored { epoch: Epoch(1) }, Fact::EpochDue], expect![""]);
    check(&mut protocol, vec![stored(1)], expect![[r#"store manifest 1 chain=["1.snap"] finished=false"#]]);
    check(&mut protocol, vec![Fact::Committed { epoch: Epoch(1) }], expect![""]);
    check(&mut protocol, vec![Fact::ManifestStored { epoch: Epoch(1) }], expect!["commit 1"]);
    check(&mut protocol, vec![Fact::InputEnded], expect![""]);
    check(
        &mut protocol,
        vec![Fact::Committed { epoch: Epoch(1) }],
        expect![[r#"
            release 1 keep=["1.snap"]
            inject 2 Stop full=false"#]],
    );
    check(
        &mut protocol,
        vec![snapshot(2, 0), snapshot(2, 1), stored(2), Fact::ManifestStored { epoch: Epoch(2) }],
        expect![[r#"
            store snapshot 2
            store manifest 2 chain=["1.snap", "2.snap"] finished=true
            commit 2"#]],
    );
    check(
        &mut protocol,
        vec![Fact::Committed { epoch: Epoch(2) }, Fact::EpochDue],
        expect![[r#"
            release 2 keep=["1.snap", "2.snap"]
            finish input_ended=true"#]],
    );
}

#[test]
fn a_long_chain_is_replaced() {
    let mut protocol = EpochProtocol::new(options(1, 1), None);
    for epoch in 1..=4 {
        let facts = vec![Fact::EpochDue, snapshot(epoch, 0), stored(epoch)];
        let actions: Vec<String> =
            facts.into_iter().flat_map(|f| protocol.decide(f)).map(|a| show(&a)).collect();
        protocol.decide(Fact::ManifestStored { epoch: Epoch(epoch) });
        protocol.decide(Fact::Committed { epoch: Epoch(epoch) });
        let expected = match epoch {
            3 => "store manifest 3 chain=[\"1.snap\", \"2.snap\", \"3.snap\"] finished=false",
            4 => "store manifest 4 chain=[\"4.snap\"] finished=false",
            _ => continue,
        };
        assert_eq!(actions[2], expected);
        assert_eq!(actions[0], format!("inject {epoch} Checkpoint full={}", epoch == 4));
    }
}

/// Whatever the order of answers, epochs are sealed and committed in order, each after its predecessor's fact.
#[test]
fn any_order_of_answers_keeps_the_order_of_epochs() {
    for seed in 0..200 {
        let entropy = SeededEntropy::new(seed);
        let mut protocol = EpochProtocol::new(options(3, 1 + entropy.below(4) as usize), None);
        let (mut waiting, mut durable, mut committed, mut finished) = (vec![Fact::EpochDue], 0, 0, false);
        for step in 0..2_000 {
            waiting.push(if step == 1_000 { Fact::InputEnded } else { Fact::EpochDue });
            let fact = waiting.swap_remove(entropy.below(waiting.len() as u64) as usize);
            match &fact {
                Fact::ManifestStored { epoch } => durable = durable.max(epoch.0),
                Fact::Committed { epoch } => committed = epoch.0,
                _ => {}
            }
            if matches!(fact, Fact::EpochDue | Fact::InputEnded) {
                waiting.retain(|fact| !matches!(fact, Fact::EpochDue));
            }
            for action in protocol.decide(fact) {
                assert!(!finished, "seed {seed}: {} after the end", show(&action));
                match action {
                    Action::Inject { barrier, .. } => {
                        waiting.extend((0..3).map(|i| snapshot(barrier.epoch.0, i)))
                    }
                    Action::StoreSnapshot { epoch, .. } => waiting.push(stored(epoch.0)),
                    Action::StoreManifest(manifest) => {
                        assert_eq!(
                            manifest.epoch.0,
                            durable + 1,
                            "seed {seed}: manifests in order, one at a time"
                        );
                        assert!(manifest.chain[0].full && manifest.chain.len() <= 3, "seed {seed}");
                        assert_eq!(manifest.chain.last().unwrap().epoch, manifest.epoch);
                        waiting.push(Fact::ManifestStored { epoch: manifest.epoch });
                    }
                    Action::Commit { epoch, .. } => {
                        assert!(
                            epoch.0 == committed + 1 && epoch.0 <= durable,
                            "seed {seed}: commit {epoch}"
                        );
                        waiting.push(Fact::Committed { epoch });
                    }
                    Action::Release { .. } => {}
                    Action::Finish { input_ended } => finished = input_ended,
                }
            }
        }
        assert!(finished && committed > 5, "seed {seed}: {committed} epochs");
    }
}
