//! Rows of usage as JSON and as CSV (RFC 4180).
//!
//! Written without a JSON tree: an answer has up to a thousand rows, and is made by a worker that decides requests.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use serde_json::Value;

use super::query::{Group, UsageQuery};
use crate::http::local_response::LocalResponse;
use crate::json::out_of_line::{object, text};
use crate::ledger::{Amounts, Unit};
use crate::money::dollars;
use crate::time::{Timestamp, rfc3339};

/// The part of a limit or budget that a team has used.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Nearest {
    /// The limit, such as `rpd`, `small rpm` or `budget`.
    pub limit: String,
    /// The used part in percent, rounded down.
    pub percent: u64,
}

/// A row.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Row {
    /// The number of the period; `None`: the whole range.
    pub period: Option<u64>,
    /// The target, key, member or team.
    pub name: Option<String>,
    /// The sums.
    pub amounts: Amounts,
    /// The nearest limit of a team, if teams are ordered by it.
    pub nearest: Option<Nearest>,
}

/// The rows of an answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Rows {
    /// The rows, in order.
    pub rows: Vec<Row>,
    /// The sum over the range, calls of revoked keys and former members included; `None` if the answer has not all of it.
    pub total: Option<Amounts>,
    /// The value of `after` for the next page.
    pub next: Option<String>,
}

/// The names of the sums, as in [`values`].
const NAMES: [&str; 7] =
    ["requests", "refused", "input_tokens", "cached_input_tokens", "output_tokens", "cost", "estimated_cost"];

/// The number of leading [`NAMES`] that are counts; the others are dollars.
const COUNTS: usize = 5;

fn values(amounts: &Amounts) -> [String; NAMES.len()] {
    let Amounts { requests, refused, input, cached_input, output, cost, estimated } = *amounts;
    let [requests, refused, input, cached, output] =
        [requests, refused, input, cached_input, output].map(|count| count.to_string());
    [requests, refused, input, cached, output, dollars(cost), dollars(estimated)]
}

/// Formats a moment of the wall clock (ns).
pub(super) fn moment(wall: u64) -> String {
    rfc3339(Timestamp::at(wall))
}

fn push_amounts(json: &mut String, amounts: &Amounts) {
    for (position, (name, value)) in NAMES.iter().zip(values(amounts)).enumerate() {
        let quote = if position < COUNTS { "" } else { "\"" };
        let comma = if position == 0 { "" } else { "," };
        json.push_str(&format!("{comma}\"{name}\":{quote}{value}{quote}"));
    }
}

impl Rows {
    /// Adds the rows to an answer, as its member `usage`.
    pub(super) fn to_json(&self, answer: &Value, query: &UsageQuery, since: Option<u64>) -> String {
        let (first, last) = (*query.periods.start(), *query.periods.end());
        let about = object!({
            "source": "gateway",
            "since": since.map(moment),
            "from": moment(query.unit.start(first)),
            "to": moment(query.unit.start(last.saturating_add(1))),
            "by": query.by.map(Unit::name),
            "group": query.group.map(Group::name),
            "next": self.next,
        });
        let mut json = text(answer);
        json.pop();
        json.push_str(",\"usage\":");
        json.push_str(&text(&about));
        json.pop();
        json.push_str(",\"total\":");
        match &self.total {
            Some(total) => {
                json.push('{');
                push_amounts(&mut json, total);
                json.push('}');
            }
            None => json.push_str("null"),
        }
        json.push_str(",\"items\":[");
        for (position, row) in self.rows.iter().enumerate() {
            json.push_str(if position == 0 { "{" } else { ",{" });
            if let Some(period) = row.period {
                json.push_str(&format!("\"start\":\"{}\",", moment(query.unit.start(period))));
            }
            if let (Some(group), Some(name)) = (query.group, &row.name) {
                json.push_str(&format!("\"{}\":{},", group.name(), text(&Value::from(name.as_str()))));
            }
            push_amounts(&mut json, &row.amounts);
            if let Some(Nearest { limit, percent }) = &row.nearest {
                let limit = text(&Value::from(limit.as_str()));
                json.push_str(&format!(
                    ",\"nearest_limit\":{{\"limit\":{limit},\"used_percent\":{percent}}}"
                ));
            }
            json.push('}');
        }
        json.push_str("]}}");
        json
    }

    /// Formats the rows as CSV, with a header.
    pub(super) fn to_csv(&self, query: &UsageQuery) -> String {
        let mut csv = String::new();
        let head = query.by.map(|_| "start").into_iter().chain(query.group.map(Group::name)).chain(NAMES);
        push_line(&mut csv, head.map(ToString::to_string));
        for row in &self.rows {
            let start = row.period.map(|period| moment(query.unit.start(period)));
            let name = query.group.and(row.name.as_deref()).map(cell);
            push_line(&mut csv, start.into_iter().chain(name).chain(values(&row.amounts)));
        }
        csv
    }

    /// Builds the response as CSV. `path` is that of the request, with its query.
    pub(super) fn csv_response(&self, query: &UsageQuery, name: &str, path: &str) -> LocalResponse {
        let mut fields = Vec::from([
            ("content-type", "text/csv; charset=utf-8; header=present".to_string()),
            ("content-disposition", format!("attachment; filename=\"usage-{name}.csv\"")),
            ("cache-control", "no-store".to_string()),
        ]);
        if let Some(next) = &self.next {
            fields.push(("link", format!("<{path}&after={next}>; rel=\"next\"")));
        }
        LocalResponse { status: 200, fields, body: self.to_csv(query) }
    }
}

fn push_line(csv: &mut String, cells: impl Iterator<Item = String>) {
    for (position, cell) in cells.enumerate() {
        if position > 0 {
            csv.push(',');
        }
        csv.push_str(&cell);
    }
    csv.push_str("\r\n");
}

/// Quotes a name if needed. A spreadsheet would take some first characters for a formula.
fn cell(name: &str) -> String {
    let formula = if name.starts_with(['=', '+', '-', '@']) { "'" } else { "" };
    if name.contains(['"', ',', '\r', '\n']) {
        format!("\"{formula}{}\"", name.replace('"', "\"\""))
    } else {
        format!("{formula}{name}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_quoted_and_are_no_formulas() {
        for (name, expected) in [
            ("gpt-5", "gpt-5"),
            ("a,b", "\"a,b\""),
            ("say\"hi\"", "\"say\"\"hi\"\"\""),
            ("=1+1", "'=1+1"),
            ("@x,y", "\"'@x,y\""),
        ] {
            assert_eq!(cell(name), expected);
        }
    }
}
