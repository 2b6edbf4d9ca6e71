//! Functions of arrays and maps.

use std::sync::Arc;

use arrow::array::{Array, ListArray, StringArray, StringBuilder};
use arrow::datatypes::DataType;
use datafusion_expr::Expr;

use super::{call, downcast};

/// The texts of an array, NULL left out, with a separator between them.
pub(crate) fn joined(array: Expr, separator: &str) -> Expr {
    let between = separator.to_owned();
    call(format!("join['{separator}']"), DataType::Utf8, vec![array], move |arguments| {
        let lists: &ListArray = downcast(&arguments[0])?;
        let texts: &StringArray = downcast(lists.values())?;
        let mut result = StringBuilder::new();
        let mut text = String::new();
        for row in 0..lists.len() {
            if lists.is_null(row) {
                result.append_null();
                continue;
            }
            text.clear();
            let (from, to) = (lists.value_offsets()[row] as usize, lists.value_offsets()[row + 1] as usize);
            let mut first = true;
            for at in (from..to).filter(|at| texts.is_valid(*at)) {
                if !std::mem::replace(&mut first, false) {
                    text.push_str(&between);
                }
                text.push_str(texts.value(at));
            }
            result.append_value(&text);
        }
        Ok(Arc::new(result.finish()))
    })
}
