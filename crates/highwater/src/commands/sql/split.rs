//! Where statements end.

/// The first statement of `text`, with its semicolon, and the rest. None: it does not end yet.
///
/// A statement set ends with its `END;`.
pub(super) fn first(text: &str) -> Option<(&str, &str)> {
    let mut end = semicolon(text, 0)?;
    if opens_set(&text[..end]) {
        let mut start = end;
        loop {
            end = semicolon(text, start)?;
            if words(&text[start..end]) == ["END"] {
                break;
            }
            start = end;
        }
    }
    Some(text.split_at(end))
}

/// What stands behind the last semicolon, if it is more than blanks and comments.
pub(super) fn last(text: &str) -> Option<(&str, &str)> {
    (!words(text).is_empty()).then_some((text, ""))
}

fn opens_set(statement: &str) -> bool {
    let words = words(statement);
    let begins = |with: &[&str]| words.len() >= with.len() && words.iter().zip(with).all(|(a, b)| a == b);
    begins(&["EXECUTE", "STATEMENT", "SET", "BEGIN"]) || begins(&["BEGIN", "STATEMENT", "SET"])
}

/// The position behind the next semicolon from `start` on that stands outside of quotes and comments.
fn semicolon(text: &str, start: usize) -> Option<usize> {
    let mut at = start;
    while let Some((token, end)) = next(text, at) {
        if token == Token::Semicolon {
            return Some(end);
        }
        at = end;
    }
    None
}

/// The first words, in capitals, up to anything else but a comment or a semicolon at the end; at most 5.
pub(super) fn words(text: &str) -> Vec<String> {
    const WORDS_MAX: usize = 5;
    let mut words = Vec::new();
    let mut at = 0;
    while let Some((token, end)) = next(text, at) {
        match token {
            Token::Word => words.push(text[at..end].to_uppercase()),
            Token::Space => {}
            Token::Semicolon => break,
            Token::Other => words.push(String::new()),
        }
        if words.len() == WORDS_MAX {
            break;
        }
        at = end;
    }
    words
}

#[derive(PartialEq, Eq)]
enum Token {
    Word,
    Semicolon,
    /// Blanks and comments.
    Space,
    /// Quoted text, or one sign.
    Other,
}

/// The token at `at` and its end. None at the end of the text, and where a quote or comment stays open.
fn next(text: &str, at: usize) -> Option<(Token, usize)> {
    let rest = &text[at..];
    let first = rest.chars().next()?;
    let behind = |length: usize| at + length;
    if rest.starts_with("--") {
        return Some((Token::Space, rest.find('\n').map_or(text.len(), behind)));
    }
    if let Some(comment) = rest.strip_prefix("/*") {
        return comment.find("*/").map(|end| (Token::Space, behind(end + 4)));
    }
    match first {
        '\'' | '"' | '`' => rest[1..].find(first).map(|end| (Token::Other, behind(end + 2))),
        ';' => Some((Token::Semicolon, behind(1))),
        c if c.is_whitespace() => Some((Token::Space, behind(c.len_utf8()))),
        c if c.is_alphanumeric() || c == '_' => {
            let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_');
            Some((Token::Word, end.map_or(text.len(), behind)))
        }
        c => Some((Token::Other, behind(c.len_utf8()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_end_outside_of_quotes_and_comments() {
        let text = "SELECT ';', `;` -- ;\n /* ; */ FROM t; SELECT 'it''s;'; rest";
        let (statement, rest) = first(text).unwrap();
        assert_eq!(statement, "SELECT ';', `;` -- ;\n /* ; */ FROM t;");
        let (statement, rest) = first(rest).unwrap();
        assert_eq!(statement, " SELECT 'it''s;';");
        assert!(first(rest).is_none());
        assert_eq!(last(rest), Some((" rest", "")));
        assert!(last(" -- nothing\n").is_none() && first("SELECT 'a;").is_none() && first("/* ;").is_none());
    }

    #[test]
    fn a_statement_set_is_one_statement() {
        let set = "BEGIN STATEMENT SET; INSERT INTO a SELECT 1; END;";
        assert_eq!(first(&format!("{set} SELECT 2;")), Some((set, " SELECT 2;")));
        let set = "execute statement set begin insert into a select 1; insert into b select 2; end;";
        assert_eq!(first(set), Some((set, "")));
        assert!(first("BEGIN STATEMENT SET; INSERT INTO a SELECT 1;").is_none());
    }

    #[test]
    fn words_are_in_capitals() {
        assert_eq!(words("/* x */ quit ;"), ["QUIT"]);
        assert_eq!(words("set 'a' = 'b'"), ["SET", "", "", ""]);
        assert!(words(" ; ").is_empty());
    }
}
