//! Flink's functions: how each checks its arguments and computes.
//!
//! A call becomes an [`Expr`] over arrays of exactly the types it asks for; parameters that must be
//! literals (patterns, units, zones) are part of the function and of its name.

pub(crate) mod arithmetic;
pub(crate) mod cast;
pub(crate) mod clock;
pub(crate) mod codec;
pub(crate) mod collection;
pub(crate) mod compare;
pub(crate) mod decimal;
pub(crate) mod java_regex;
pub(crate) mod java_time;
pub(crate) mod json;
pub(crate) mod json_path;
pub(crate) mod json_value;
pub(crate) mod nested;
pub(crate) mod numbers;
pub(crate) mod pattern;
pub(crate) mod printf;
pub(crate) mod regexp;
pub(crate) mod text;
pub(crate) mod text_forms;
pub(crate) mod times;
pub(crate) mod zone;

#[cfg(test)]
mod tests;

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, ArrowPrimitiveType, PrimitiveArray, StringArray};
use arrow::datatypes::DataType;
use datafusion_common::{DataFusionError, Result as EvalResult, ScalarValue};
use datafusion_expr::expr::ScalarFunction;
use datafusion_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use sqlparser::tokenizer::Location;

use crate::error::{Bound, Fault};
use crate::types::SqlType;

type Eval = dyn Fn(&[ArrayRef]) -> EvalResult<ArrayRef> + Send + Sync;

/// A function of this crate within a plan. Two with one name and output are the same.
struct SqlFunction {
    name: String,
    output: DataType,
    signature: Signature,
    fallible: bool,
    eval: Arc<Eval>,
}

impl fmt::Debug for SqlFunction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} -> {}", self.name, self.output)
    }
}

impl PartialEq for SqlFunction {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && self.output == other.output
    }
}

impl Eq for SqlFunction {}

impl Hash for SqlFunction {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
        self.output.hash(state);
    }
}

impl ScalarUDFImpl for SqlFunction {
    fn name(&self) -> &str {
        &self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> EvalResult<DataType> {
        Ok(self.output.clone())
    }

    fn invoke_with_args(&self, call: ScalarFunctionArgs) -> EvalResult<ColumnarValue> {
        let scalars = call.args.iter().all(|argument| matches!(argument, ColumnarValue::Scalar(_)));
        let rows = if scalars { 1 } else { call.number_rows };
        let arrays: Vec<ArrayRef> =
            call.args.into_iter().map(|argument| argument.into_array(rows)).collect::<EvalResult<_>>()?;
        let result = (self.eval)(&arrays)?;
        if scalars {
            return Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&result, 0)?));
        }
        Ok(ColumnarValue::Array(result))
    }
}

/// A call that gives NULL or a value, never an error.
pub(crate) fn call(
    name: impl Into<String>,
    output: DataType,
    arguments: Vec<Expr>,
    eval: impl Fn(&[ArrayRef]) -> EvalResult<ArrayRef> + Send + Sync + 'static,
) -> Expr {
    make(name.into(), output, false, arguments, Arc::new(eval))
}

/// A call that may fail the job on a row.
pub(crate) fn fallible_call(
    name: impl Into<String>,
    output: DataType,
    arguments: Vec<Expr>,
    eval: impl Fn(&[ArrayRef]) -> EvalResult<ArrayRef> + Send + Sync + 'static,
) -> Expr {
    make(name.into(), output, true, arguments, Arc::new(eval))
}

fn make(name: String, output: DataType, fallible: bool, arguments: Vec<Expr>, eval: Arc<Eval>) -> Expr {
    let signature = Signature::variadic_any(Volatility::Immutable);
    let function = SqlFunction { name, output, signature, fallible, eval };
    let function = Arc::new(ScalarUDF::new_from_impl(function));
    Expr::ScalarFunction(ScalarFunction::new_udf(function, arguments))
}

/// Whether evaluating `expr` on a row that Flink would not evaluate it on could fail the job.
pub(crate) fn is_fallible(expr: &Expr) -> bool {
    use datafusion_common::tree_node::TreeNode;
    use datafusion_expr::Operator;
    expr.exists(|node| {
        Ok(match node {
            Expr::ScalarFunction(call) => {
                call.func.inner().downcast_ref::<SqlFunction>().is_none_or(|function| function.fallible)
            }
            Expr::BinaryExpr(binary) => matches!(binary.op, Operator::Divide | Operator::Modulo),
            _ => false,
        })
    })
    .unwrap_or(true)
}

/// An expression with its type and place.
#[derive(Clone, Debug)]
pub(crate) struct Typed {
    pub(crate) expr: Expr,
    pub(crate) ty: SqlType,
    pub(crate) at: Location,
}

/// A call as written, its arguments bound.
pub(crate) struct Call<'a> {
    /// In upper case.
    pub(crate) name: &'a str,
    pub(crate) at: Location,
    pub(crate) arguments: Vec<Typed>,
    /// The session's time zone.
    pub(crate) zone: chrono_tz::Tz,
}

/// Checks a call's arguments and makes the expression.
pub(crate) type Binder = fn(Call<'_>) -> Bound<Typed>;

/// Every function by name.
pub(crate) fn tables() -> [&'static [(&'static str, Binder)]; 10] {
    [
        text::FUNCTIONS,
        text_forms::FUNCTIONS,
        numbers::FUNCTIONS,
        times::FUNCTIONS,
        compare::FUNCTIONS,
        nested::FUNCTIONS,
        collection::FUNCTIONS,
        codec::FUNCTIONS,
        regexp::FUNCTIONS,
        json::FUNCTIONS,
    ]
}

/// The function called `name` (in upper case).
pub(crate) fn find(name: &str) -> Option<Binder> {
    tables().into_iter().flatten().find(|(known, _)| *known == name).map(|(_, binder)| *binder)
}

impl Call<'_> {
    pub(crate) fn arity(&self, least: usize, most: usize) -> Bound<()> {
        let count = self.arguments.len();
        if (least..=most).contains(&count) {
            return Ok(());
        }
        let expected = if least == most { format!("{least}") } else { format!("{least} to {most}") };
        Err(Fault::new(self.at, format!("{} with {count} arguments: expected {expected}", self.name)))
    }

    pub(crate) fn mismatch(&self, index: usize, wanted: &str) -> Fault {
        let found = self.arguments.get(index).map_or(String::new(), |argument| argument.ty.to_string());
        let at = self.arguments.get(index).map_or(self.at, |argument| argument.at);
        Fault::new(at, format!("argument {} of {} is {found}: expected {wanted}", index + 1, self.name))
            .or_at(self.at)
    }

    /// The argument as text; NULL becomes a text.
    pub(crate) fn text(&self, index: usize) -> Bound<Expr> {
        match &self.arguments[index] {
            argument if argument.ty.is_text() => Ok(argument.expr.clone()),
            argument if argument.ty == SqlType::Null => Ok(null_of(&DataType::Utf8)),
            _ => Err(self.mismatch(index, "STRING")),
        }
    }

    /// The argument as a whole number.
    pub(crate) fn integer(&self, index: usize) -> Bound<Expr> {
        let argument = &self.arguments[index];
        if argument.ty.is_integer() || argument.ty == SqlType::Null {
            return Ok(widen(argument, &SqlType::BigInt));
        }
        Err(self.mismatch(index, "a whole number"))
    }

    /// The argument as DOUBLE.
    pub(crate) fn double(&self, index: usize) -> Bound<Expr> {
        let argument = &self.arguments[index];
        if argument.ty.is_numeric() || argument.ty == SqlType::Null {
            return cast::implicit(argument.clone(), &SqlType::Double, self.zone).map(|typed| typed.expr);
        }
        Err(self.mismatch(index, "a number"))
    }

    /// The argument as a literal text.
    pub(crate) fn literal_text(&self, index: usize) -> Bound<String> {
        match &self.arguments[index].expr {
            Expr::Literal(ScalarValue::Utf8(Some(text)), _) => Ok(text.clone()),
            _ => Err(self.mismatch(index, "a text literal").hint("a column here is not supported yet")),
        }
    }

    /// The argument as a literal number.
    pub(crate) fn literal_integer(&self, index: usize) -> Bound<i64> {
        integer_literal(&self.arguments[index].expr).ok_or_else(|| {
            self.mismatch(index, "a number literal").hint("a column here is not supported yet")
        })
    }

    pub(crate) fn typed(&self, expr: Expr, ty: SqlType) -> Typed {
        Typed { expr, ty, at: self.at }
    }
}

pub(crate) fn integer_literal(expr: &Expr) -> Option<i64> {
    match expr {
        Expr::Literal(ScalarValue::Int8(Some(n)), _) => Some(i64::from(*n)),
        Expr::Literal(ScalarValue::Int16(Some(n)), _) => Some(i64::from(*n)),
        Expr::Literal(ScalarValue::Int32(Some(n)), _) => Some(i64::from(*n)),
        Expr::Literal(ScalarValue::Int64(Some(n)), _) => Some(*n),
        _ => None,
    }
}

/// An integer (or NULL) as a wider one; without loss.
fn widen(argument: &Typed, to: &SqlType) -> Expr {
    let target = to.to_arrow();
    if argument.ty == SqlType::Null {
        return null_of(&target);
    }
    if argument.ty == *to {
        return argument.expr.clone();
    }
    if let (Some(n), SqlType::BigInt) = (integer_literal(&argument.expr), to) {
        return literal(ScalarValue::Int64(Some(n)));
    }
    datafusion_expr::cast(argument.expr.clone(), target)
}

pub(crate) fn literal(value: ScalarValue) -> Expr {
    Expr::Literal(value, None)
}

/// NULL of a type.
pub(crate) fn null_of(ty: &DataType) -> Expr {
    literal(ScalarValue::try_from(ty).unwrap_or(ScalarValue::Null))
}

/// The array as what its type says it is.
pub(crate) fn downcast<T: Array + 'static>(array: &ArrayRef) -> EvalResult<&T> {
    array
        .as_any()
        .downcast_ref::<T>()
        .ok_or_else(|| DataFusionError::Internal(format!("unexpected array of {}", array.data_type())))
}

/// The array's values of a primitive type.
pub(crate) fn primitive<T: ArrowPrimitiveType>(array: &ArrayRef) -> EvalResult<&PrimitiveArray<T>> {
    downcast(array)
}

/// The array's texts.
pub(crate) fn strings(array: &ArrayRef) -> EvalResult<&StringArray> {
    downcast(array)
}

/// A failure of the job on a row.
pub(crate) fn failed(message: impl Into<String>) -> DataFusionError {
    DataFusionError::Execution(message.into())
}
