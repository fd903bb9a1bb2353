//! Prices as CSV: the columns are `target` and the fields of a target in a policy, in its units.

use tollgate_core::money::Rate;

use super::offer::Offer;

/// An error in a file of prices.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TableError {
    #[error("line {0}: a different number of columns than in the first line, or not UTF-8")]
    Csv(u64),
    #[error("there is no column `target`: the first line names the columns")]
    NoTarget,
    #[error(
        "unknown column `{0}`: expected `target`, a price such as `input`, `tiers.NAME.input` or `above.input`, \
        `above.input_tokens`, `max_input_tokens` or `max_output_tokens`"
    )]
    Column(String),
    #[error("line {0}: the target is in an earlier line")]
    Repeated(u64),
    #[error("line {line}: `{column}` is no whole number of at least 1")]
    Count { line: u64, column: String },
    #[error("line {0}: a price above a threshold, and no `above.input_tokens`")]
    NoThreshold(u64),
}

/// The meaning of a column.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Column {
    Target,
    MaxInput,
    MaxOutput,
    Threshold,
    Price { rate: Rate, tier: Option<String>, above: bool },
}

fn column(name: &str) -> Option<Column> {
    match name {
        "target" => return Some(Column::Target),
        "max_input_tokens" => return Some(Column::MaxInput),
        "max_output_tokens" => return Some(Column::MaxOutput),
        "above.input_tokens" => return Some(Column::Threshold),
        _ => {}
    }
    let (tier, rest) = match name.strip_prefix("tiers.").and_then(|rest| rest.split_once('.')) {
        Some((tier, rest)) => (Some(tier.to_owned()), rest),
        None => (None, name),
    };
    let (above, rest) = rest.strip_prefix("above.").map_or((false, rest), |rest| (true, rest));
    let rate = Rate::ALL.iter().find(|rate| rate.name() == rest)?;
    Some(Column::Price { rate: *rate, tier, above })
}

/// Reads a table.
pub fn read(bytes: &[u8], free: bool) -> Result<Vec<Offer>, TableError> {
    let at = |error: &csv::Error| error.position().map_or(1, csv::Position::line);
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(bytes);
    let names = reader.headers().map_err(|error| TableError::Csv(at(&error)))?.clone();
    let columns = names.iter().map(|name| column(name).ok_or_else(|| TableError::Column(name.to_owned())));
    let columns: Vec<Column> = columns.collect::<Result<_, _>>()?;
    let target = columns.iter().position(|column| *column == Column::Target).ok_or(TableError::NoTarget)?;
    let threshold = columns.iter().position(|column| *column == Column::Threshold);
    let mut offers: Vec<Offer> = Vec::new();
    for cells in reader.records() {
        let cells = cells.map_err(|error| TableError::Csv(at(&error)))?;
        let line = cells.position().map_or(0, csv::Position::line);
        let count = |position: usize| match cells.get(position).unwrap_or_default() {
            "" => Ok(None),
            text => text.parse::<u64>().ok().filter(|count| *count > 0).map(Some).ok_or_else(|| {
                TableError::Count { line, column: names.get(position).unwrap_or_default().to_owned() }
            }),
        };
        let name = cells.get(target).unwrap_or_default().to_owned();
        if offers.iter().any(|other| other.name == name) {
            return Err(TableError::Repeated(line));
        }
        let mut offer = Offer { name, ..Offer::default() };
        let threshold = threshold.map(count).transpose()?.flatten();
        for (position, column) in columns.iter().enumerate() {
            let cell = cells.get(position).unwrap_or_default();
            match column {
                Column::MaxInput => offer.max_input_tokens = count(position)?,
                Column::MaxOutput => offer.max_output_tokens = count(position)?,
                Column::Price { rate, tier, above } if !cell.is_empty() => {
                    let threshold =
                        if *above { Some(threshold.ok_or(TableError::NoThreshold(line))?) } else { None };
                    if let Err(reason) = offer.price(*rate, tier.as_deref(), threshold, cell, true) {
                        offer.leave_out(names.get(position).unwrap_or_default(), reason);
                    }
                }
                Column::Target | Column::Threshold | Column::Price { .. } => {}
            }
        }
        offer.complete(free);
        offers.push(offer);
    }
    Ok(offers)
}

#[cfg(test)]
mod tests {
    use super::super::offer::Reason;
    use super::*;

    #[test]
    fn a_row_is_a_target_in_the_units_of_a_policy() {
        let table = "target,input,output,tiers.flex.input,above.input_tokens,above.output,search,max_input_tokens\n\
            one, 1.25 ,1e1,0.625,200000,15,0.01,1000\n\"two\",0,2,,,,,\n";
        let offers = read(table.as_bytes(), false).unwrap();
        let one = &offers[0];
        assert_eq!(one.level.prices["input"], "1.25");
        assert_eq!(one.level.prices["output"], "10.00");
        assert_eq!(one.level.above[&200_000]["output"], "15.00");
        assert_eq!(one.tiers["flex"].prices["input"], "0.625");
        assert_eq!(one.level.prices["search"], "0.01");
        assert_eq!(one.max_input_tokens, Some(1_000));
        assert!(!offers[1].level.prices.contains_key("input"), "zero is unknown");
        assert_eq!(read(table.as_bytes(), true).unwrap()[1].level.prices["input"], "0.00");
        let fine = read(b"target,input\none,0.0000001\n", false).unwrap();
        assert_eq!(fine[0].left_out, [("input".to_owned(), Reason::Fine)]);
    }

    #[test]
    fn errors_of_a_table_name_their_line_or_column() {
        for (table, error) in [
            ("input\n1\n", TableError::NoTarget),
            ("target,price\na,1\n", TableError::Column("price".to_owned())),
            ("target,input\na,1\na,2\n", TableError::Repeated(3)),
            ("target,input\na,1,2\n", TableError::Csv(2)),
            ("target,above.input\na,1\n", TableError::NoThreshold(2)),
            (
                "target,max_input_tokens\na,-1\n",
                TableError::Count { line: 2, column: "max_input_tokens".to_owned() },
            ),
        ] {
            assert_eq!(read(table.as_bytes(), false), Err(error), "{table}");
        }
    }
}
