//! Which `WITH` options each connector and format knows: plain data, so that `sql` can refuse a
//! typo with a hint and `connectors` and `formats` read the same names.

use std::collections::BTreeMap;

/// A connector and its options.
#[derive(Clone, Copy, Debug)]
pub struct ConnectorOptions {
    /// The value of `'connector'`.
    pub name: &'static str,
    /// Whether tables of it can be read.
    pub source: bool,
    /// Whether tables of it can be written.
    pub sink: bool,
    /// Whether it takes a `'format'` and the options of that format.
    pub formatted: bool,
    /// What it knows besides `connector`, `format` and the format's own options.
    pub options: &'static [TableOption],
}

/// A format and its options.
#[derive(Clone, Copy, Debug)]
pub struct FormatOptions {
    /// The value of `'format'`.
    pub name: &'static str,
    /// Whether its records say what became of a row: `-U` and `-D` besides `+I`.
    pub changes: bool,
    /// What it knows; every name starts with the format's name and a dot.
    pub options: &'static [TableOption],
}

/// One option of a table.
#[derive(Clone, Copy, Debug)]
pub struct TableOption {
    /// The key. `#` stands for one column's name, a final `*` for anything.
    pub name: &'static str,
    /// Whether a table without it is refused.
    pub required: bool,
    /// For people.
    pub meaning: &'static str,
}

impl TableOption {
    /// Whether `key` is this option.
    pub fn matches(&self, key: &str) -> bool {
        if let Some(prefix) = self.name.strip_suffix('*') {
            return key.len() > prefix.len() && key.starts_with(prefix);
        }
        match self.name.split_once('#') {
            None => key == self.name,
            Some((before, after)) => {
                key.len() > before.len() + after.len() && key.starts_with(before) && key.ends_with(after)
            }
        }
    }
}

impl ConnectorOptions {
    /// Whether `key` may stand in the `WITH` of a table of this connector.
    pub fn knows(&self, key: &str) -> bool {
        let formatted = |key: &str| {
            let of_format = |format: &FormatOptions| format.options.iter().any(|option| option.matches(key));
            matches!(key, "format" | "key.format" | "value.format")
                || FORMATS.iter().any(of_format)
                || ["key.", "value."].iter().any(|prefix| {
                    key.strip_prefix(prefix).is_some_and(|rest| {
                        FORMATS.iter().any(|format| format.options.iter().any(|option| option.matches(rest)))
                    })
                })
        };
        key == "connector"
            || self.options.iter().any(|option| option.matches(key))
            || (self.formatted && formatted(key))
    }
}

/// The connector called `name`.
pub fn connector_options(name: &str) -> Option<&'static ConnectorOptions> {
    CONNECTORS.iter().find(|connector| connector.name == name)
}

/// The format called `name`.
pub fn format_options(name: &str) -> Option<&'static FormatOptions> {
    FORMATS.iter().find(|format| format.name == name)
}

/// Whether the records of a table with these options say what became of a row.
pub fn carries_changes(options: &BTreeMap<String, String>) -> bool {
    let format = options.get("value.format").or_else(|| options.get("format"));
    format.and_then(|name| format_options(name)).is_some_and(|format| format.changes)
}

/// Whether a table with these options finds the fields of a ROW by their names: then a plan may leave
/// fields out that it does not need.
pub fn finds_fields_by_name(options: &BTreeMap<String, String>) -> bool {
    let option = |key: &str| options.get(key).map(String::as_str);
    let format = option("value.format").or_else(|| option("format"));
    format == Some("json") || option("connector") == Some("nexmark")
}

const fn required(name: &'static str, meaning: &'static str) -> TableOption {
    TableOption { name, required: true, meaning }
}

const fn optional(name: &'static str, meaning: &'static str) -> TableOption {
    TableOption { name, required: false, meaning }
}

const BAD_RECORDS: TableOption =
    optional("bad-records", "what to do with a record that does not fit: fail, dead-letter or skip");

/// Every connector of this version.
pub const CONNECTORS: &[ConnectorOptions] = &[
    ConnectorOptions {
        name: "kafka",
        source: true,
        sink: true,
        formatted: true,
        options: &[
            required("topic", "the topic's name"),
            optional("properties.*", "client properties; bootstrap.servers asks for an external Kafka"),
            optional(
                "scan.startup.mode",
                "where to start: group-offsets, earliest-offset, latest-offset, timestamp, specific-offsets",
            ),
            optional("scan.startup.timestamp-millis", "start of mode timestamp, ms since 1970"),
            optional(
                "scan.startup.specific-offsets",
                "start of mode specific-offsets: partition:0,offset:42;...",
            ),
            optional("scan.bounded.mode", "where to end: unbounded or latest-offset"),
            optional("scan.topic-partition-discovery.interval", "accepted; new partitions are always found"),
            optional("key.fields", "columns that make the record key, separated by ;"),
            optional("key.fields-prefix", "prefix of the key columns' names"),
            optional("value.fields-include", "whether the value repeats the key columns: ALL or EXCEPT_KEY"),
            optional(
                "sink.delivery-guarantee",
                "exactly-once (default here); weaker ones are accepted and met",
            ),
            optional("sink.partitioner", "default: by key, else spread"),
            optional("sink.transactional-id-prefix", "accepted; the own log needs none"),
            optional("sink.parallelism", "accepted; the pipeline decides"),
            BAD_RECORDS,
        ],
    },
    ConnectorOptions {
        name: "filesystem",
        source: true,
        sink: true,
        formatted: true,
        options: &[
            required("path", "a file or directory"),
            optional("source.path.regex-pattern", "only files whose path matches"),
            optional("sink.rolling-policy.file-size", "accepted; a file ends with its epoch"),
            optional("sink.rolling-policy.rollover-interval", "accepted; a file ends with its epoch"),
            optional("sink.rolling-policy.check-interval", "accepted; a file ends with its epoch"),
            optional("scan.watermark.emit.strategy", "accepted without effect, as in Flink"),
            BAD_RECORDS,
        ],
    },
    ConnectorOptions {
        name: "datagen",
        source: true,
        sink: false,
        formatted: false,
        options: &[
            optional("rows-per-second", "rate of all shards together; 10000 by default"),
            optional("number-of-rows", "how many rows; without it no end"),
            optional("seed", "of the random numbers; 0 by default"),
            optional("fields.#.kind", "random or sequence"),
            optional("fields.#.min", "smallest random value"),
            optional("fields.#.max", "largest random value"),
            optional("fields.#.max-past", "how far random times lie in the past, a duration"),
            optional("fields.#.length", "length of random text or bytes; 100 by default"),
            optional("fields.#.start", "first value of a sequence"),
            optional("fields.#.end", "last value of a sequence; ends the table"),
            optional("fields.#.null-rate", "share of NULLs, 0 to 1"),
        ],
    },
    ConnectorOptions {
        name: "nexmark",
        source: true,
        sink: false,
        formatted: false,
        options: &[
            optional("number-of-rows", "how many events; without it no end"),
            optional("rows-per-second", "rate of all shards together; without it as fast as they are read"),
            optional("events-per-second", "rate at which event time passes; 10000 by default"),
            optional("seed", "of the random numbers; 0 by default"),
        ],
    },
    ConnectorOptions {
        name: "print",
        source: false,
        sink: true,
        formatted: false,
        options: &[
            optional("print-identifier", "put before each row"),
            optional("standard-error", "true: print to standard error"),
            optional("sink.parallelism", "accepted; the pipeline decides"),
        ],
    },
    ConnectorOptions { name: "blackhole", source: false, sink: true, formatted: false, options: &[] },
    ConnectorOptions { name: "checksum", source: false, sink: true, formatted: false, options: &[] },
];

/// Every format of this version.
pub const FORMATS: &[FormatOptions] = &[
    FormatOptions {
        name: "json",
        changes: false,
        options: &[
            optional("json.fail-on-missing-field", "refuse a record without a declared field"),
            optional("json.ignore-parse-errors", "NULL for a bad field, no row for a bad record"),
            optional("json.timestamp-format.standard", "SQL, ISO-8601 or ISO-8601-WITH-OFFSET"),
            optional("json.map-null-key.mode", "FAIL, DROP or LITERAL"),
            optional("json.map-null-key.literal", "the name of mode LITERAL"),
            optional("json.encode.decimal-as-plain-number", "never write a decimal with an exponent"),
            optional("json.encode.ignore-null-fields", "leave NULL fields out"),
            optional("json.decode.json-parser.enabled", "accepted without effect"),
        ],
    },
    FormatOptions {
        name: "csv",
        changes: false,
        options: &[
            optional("csv.field-delimiter", "one character; , by default"),
            optional("csv.disable-quote-character", "no quoting"),
            optional("csv.quote-character", "one character; \" by default"),
            optional("csv.escape-character", "one character; none by default"),
            optional("csv.allow-comments", "skip lines that start with #"),
            optional("csv.ignore-parse-errors", "NULL for a bad field, no row for a bad record"),
            optional("csv.ignore-first-line", "skip the first line of each file"),
            optional("csv.null-literal", "text that means NULL"),
            optional("csv.array-element-delimiter", "between elements of an array; ; by default"),
            optional("csv.write-bigdecimal-in-scientific-notation", "accepted; decimals are written plain"),
        ],
    },
    FormatOptions {
        name: "debezium-json",
        changes: true,
        options: &[
            optional("debezium-json.schema-include", "each record carries its schema beside the payload"),
            optional("debezium-json.ignore-parse-errors", "NULL for a bad field, no row for a bad record"),
            optional("debezium-json.timestamp-format.standard", "SQL, ISO-8601 or ISO-8601-WITH-OFFSET"),
            optional("debezium-json.map-null-key.mode", "FAIL, DROP or LITERAL"),
            optional("debezium-json.map-null-key.literal", "the name of mode LITERAL"),
            optional(
                "debezium-json.encode.decimal-as-plain-number",
                "never write a decimal with an exponent",
            ),
            optional("debezium-json.encode.ignore-null-fields", "leave NULL fields out"),
        ],
    },
    FormatOptions {
        name: "canal-json",
        changes: true,
        options: &[
            optional("canal-json.ignore-parse-errors", "NULL for a bad field, no row for a bad record"),
            optional("canal-json.timestamp-format.standard", "SQL, ISO-8601 or ISO-8601-WITH-OFFSET"),
            optional("canal-json.map-null-key.mode", "FAIL, DROP or LITERAL"),
            optional("canal-json.map-null-key.literal", "the name of mode LITERAL"),
            optional("canal-json.encode.decimal-as-plain-number", "never write a decimal with an exponent"),
            optional("canal-json.encode.ignore-null-fields", "leave NULL fields out"),
        ],
    },
    FormatOptions {
        name: "maxwell-json",
        changes: true,
        options: &[
            optional("maxwell-json.ignore-parse-errors", "NULL for a bad field, no row for a bad record"),
            optional("maxwell-json.timestamp-format.standard", "SQL, ISO-8601 or ISO-8601-WITH-OFFSET"),
            optional("maxwell-json.map-null-key.mode", "FAIL, DROP or LITERAL"),
            optional("maxwell-json.map-null-key.literal", "the name of mode LITERAL"),
            optional("maxwell-json.encode.decimal-as-plain-number", "never write a decimal with an exponent"),
            optional("maxwell-json.encode.ignore-null-fields", "leave NULL fields out"),
        ],
    },
    FormatOptions {
        name: "ogg-json",
        changes: true,
        options: &[
            optional("ogg-json.ignore-parse-errors", "NULL for a bad field, no row for a bad record"),
            optional("ogg-json.timestamp-format.standard", "SQL, ISO-8601 or ISO-8601-WITH-OFFSET"),
            optional("ogg-json.map-null-key.mode", "FAIL, DROP or LITERAL"),
            optional("ogg-json.map-null-key.literal", "the name of mode LITERAL"),
            optional("ogg-json.encode.decimal-as-plain-number", "never write a decimal with an exponent"),
            optional("ogg-json.encode.ignore-null-fields", "leave NULL fields out"),
        ],
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_columns_and_prefixes() {
        let datagen = connector_options("datagen").unwrap();
        assert!(datagen.knows("fields.a.min") && datagen.knows("fields.a.b.min"));
        assert!(!datagen.knows("fields.min") && !datagen.knows("fields..min"));
        let kafka = connector_options("kafka").unwrap();
        assert!(kafka.knows("properties.group.id") && !kafka.knows("properties."));
        assert!(kafka.knows("value.json.ignore-parse-errors") && kafka.knows("format"));
        assert!(!connector_options("print").unwrap().knows("format"));
    }
}
