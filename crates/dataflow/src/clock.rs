//! The current time in expressions: a plan's variables become calls that read the job's clock.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::datatypes::{DataType, TimeUnit};
use datafusion_common::tree_node::{Transformed, TreeNode};
use datafusion_common::{Result as EvalResult, ScalarValue};
use datafusion_expr::expr::ScalarFunction;
use datafusion_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use highwater_env::Clock;
use highwater_stream::{OperatorSpec, StreamPlan, is_now};

/// The plan with `clock` in its expressions. All rows of a batch are evaluated at the same time.
pub(crate) fn with_clock(plan: &StreamPlan, clock: &Arc<dyn Clock>) -> StreamPlan {
    let signature = Signature::nullary(Volatility::Volatile);
    let function = Arc::new(ScalarUDF::new_from_impl(Now { clock: Arc::clone(clock), signature }));
    let bind = |expr: &mut Expr| {
        let bound = std::mem::take(expr).transform_up(|node| {
            Ok(if is_now(&node) {
                Transformed::yes(Expr::ScalarFunction(ScalarFunction::new_udf(Arc::clone(&function), vec![])))
            } else {
                Transformed::no(node)
            })
        });
        *expr = bound.map(|bound| bound.data).expect("the closure does not fail");
    };
    let mut plan = plan.clone();
    for node in &mut plan.nodes {
        match &mut node.spec {
            OperatorSpec::Source(spec) => {
                spec.columns.iter_mut().for_each(bind);
                spec.rowtime.iter_mut().for_each(|rowtime| bind(&mut rowtime.watermark));
            }
            OperatorSpec::Calc { filter, columns } => {
                columns.iter_mut().for_each(bind);
                filter.iter_mut().for_each(bind);
            }
            OperatorSpec::Join(spec) => spec.residual.iter_mut().for_each(bind),
            _ => {}
        }
    }
    plan
}

/// The clock's time, `TIMESTAMP_LTZ(3)`.
struct Now {
    clock: Arc<dyn Clock>,
    signature: Signature,
}

impl fmt::Debug for Now {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Now")
    }
}

impl PartialEq for Now {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.clock, &other.clock)
    }
}

impl Eq for Now {}

impl Hash for Now {
    fn hash<H: Hasher>(&self, state: &mut H) {
        "now".hash(state);
    }
}

impl ScalarUDFImpl for Now {
    fn name(&self) -> &str {
        "now"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> EvalResult<DataType> {
        Ok(DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into())))
    }

    fn invoke_with_args(&self, _call: ScalarFunctionArgs) -> EvalResult<ColumnarValue> {
        let now = ScalarValue::TimestampMillisecond(Some(self.clock.unix_ms()), Some("UTC".into()));
        Ok(ColumnarValue::Scalar(now))
    }
}
