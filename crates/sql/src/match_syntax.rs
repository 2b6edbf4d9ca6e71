//! What sqlparser does not know of `MATCH_RECOGNIZE`, as what it knows.

use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::{Token, TokenWithSpan, Word};

/// The name under which `WITHIN` stands among the definitions.
pub(crate) const WITHIN: &str = "$within";

/// The table whose argument is the query in front of `MATCH_RECOGNIZE`.
pub(crate) const DERIVED: &str = "$derived";

/// Tokens of an interval: `INTERVAL '1 2' DAY (3) TO SECOND (3)`, with a sign.
const INTERVAL_TOKENS_MAX: usize = 12;

/// Rewrites a statement's tokens, if `MATCH_RECOGNIZE` is among them.
pub(crate) fn known_syntax(tokens: &mut Vec<TokenWithSpan>) {
    if !tokens.iter().any(|token| is(token, Keyword::MATCH_RECOGNIZE)) {
        return;
    }
    skip_to_last(tokens);
    drop_final(tokens);
    lift_within(tokens);
    name_queries(tokens);
}

fn is(token: &TokenWithSpan, keyword: Keyword) -> bool {
    matches!(&token.token, Token::Word(word) if word.keyword == keyword && word.quote_style.is_none())
}

fn name(value: &str, like: &TokenWithSpan) -> TokenWithSpan {
    let word = Word { value: value.to_owned(), quote_style: Some('`'), keyword: Keyword::NoKeyword };
    TokenWithSpan { token: Token::Word(word), span: like.span }
}

/// `AFTER MATCH SKIP TO a` becomes `AFTER MATCH SKIP TO LAST a`.
fn skip_to_last(tokens: &mut Vec<TokenWithSpan>) {
    let mut at = 0;
    while at + 4 < tokens.len() {
        let found = is(&tokens[at], Keyword::AFTER)
            && is(&tokens[at + 1], Keyword::MATCH)
            && is(&tokens[at + 2], Keyword::SKIP)
            && is(&tokens[at + 3], Keyword::TO);
        let known = [Keyword::NEXT, Keyword::FIRST, Keyword::LAST];
        if found && !known.iter().any(|keyword| is(&tokens[at + 4], *keyword)) {
            let span = tokens[at + 4].span;
            tokens.insert(at + 4, TokenWithSpan { token: Token::make_keyword("LAST"), span });
        }
        at += 1;
    }
}

/// `FINAL LAST(..)` becomes `LAST(..)`: with one row per match it says the same.
fn drop_final(tokens: &mut Vec<TokenWithSpan>) {
    let mut at = 0;
    while at + 2 < tokens.len() {
        let call = [Keyword::FIRST, Keyword::LAST].iter().any(|keyword| is(&tokens[at + 1], *keyword))
            && tokens[at + 2].token == Token::LParen;
        if call && is(&tokens[at], Keyword::FINAL) {
            tokens.remove(at);
        }
        at += 1;
    }
}

/// `) WITHIN INTERVAL .. DEFINE` becomes ``) DEFINE `$within` AS INTERVAL .. ,``.
fn lift_within(tokens: &mut Vec<TokenWithSpan>) {
    let mut at = 1;
    while at + 2 < tokens.len() {
        let found = tokens[at - 1].token == Token::RParen
            && is(&tokens[at], Keyword::WITHIN)
            && is(&tokens[at + 1], Keyword::INTERVAL);
        let mut interval = tokens.iter().skip(at + 1).take(INTERVAL_TOKENS_MAX);
        if found && let Some(length) = interval.position(|token| is(token, Keyword::DEFINE)) {
            let within = tokens.remove(at);
            let span = within.span;
            let comma = TokenWithSpan { token: Token::Comma, span };
            let define = std::mem::replace(&mut tokens[at + length], comma);
            let word = TokenWithSpan { token: Token::make_keyword("AS"), span };
            tokens.splice(at..at, [define, name(WITHIN, &within), word]);
        }
        at += 1;
    }
}

/// `(SELECT ..) MATCH_RECOGNIZE` becomes `` `$derived`((SELECT ..)) MATCH_RECOGNIZE``.
fn name_queries(tokens: &mut Vec<TokenWithSpan>) {
    let mut at = 1;
    while at < tokens.len() {
        if is(&tokens[at], Keyword::MATCH_RECOGNIZE) && tokens[at - 1].token == Token::RParen {
            let mut depth = 0_usize;
            let opening = tokens[..at].iter().rposition(|token| {
                match token.token {
                    Token::RParen => depth += 1,
                    Token::LParen => depth -= 1,
                    _ => {}
                }
                depth == 0
            });
            let from = opening.filter(|open| {
                let query = is(&tokens[open + 1], Keyword::SELECT) || is(&tokens[open + 1], Keyword::WITH);
                query && *open > 0
            });
            if let Some(open) = from {
                let like = tokens[open].clone();
                tokens.insert(at, TokenWithSpan { token: Token::RParen, span: tokens[at - 1].span });
                tokens.splice(open..open, [name(DERIVED, &like), like]);
                at += 3;
            }
        }
        at += 1;
    }
}
