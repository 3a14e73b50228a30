//! Tables as Parquet: the same cells as in the CSV beside it, with types.

use parquet::basic::{Repetition, Type};
use parquet::file::reader::{FileReader as _, SerializedFileReader};
use parquet::record::Field;
use squad_simulations::replay::Recorder;
use squad_simulations::report::{Lenience, merge};
use squad_simulations::results::write_tables;
use squad_simulations::scenario::parse;
use squad_simulations::simulation::Simulation;
use squad_simulations::sweep::Sweep;
use squad_simulations::table::{Cell, Column, Table, split};
use std::fs::File;
use std::path::Path;

/// The columns of a Parquet file: name, whether a cell may be null, type.
fn columns(directory: &Path, name: &str) -> Vec<(String, bool, Type)> {
    let file = File::open(directory.join(name).with_extension("parquet")).unwrap();
    let file = SerializedFileReader::new(file).unwrap();
    let schema = file.metadata().file_metadata().schema_descr();
    let column = |column: &parquet::schema::types::ColumnDescPtr| {
        let optional = column.self_type().get_basic_info().repetition() == Repetition::OPTIONAL;
        (column.name().to_owned(), optional, column.physical_type())
    };
    schema.columns().iter().map(column).collect()
}

fn parquet(directory: &Path, name: &str) -> Vec<Vec<Field>> {
    let file = File::open(directory.join(name).with_extension("parquet")).unwrap();
    let file = SerializedFileReader::new(file).unwrap();
    let rows = file.get_row_iter(None).unwrap();
    rows.map(|row| row.unwrap().into_columns().into_iter().map(|(_, field)| field).collect()).collect()
}

fn text(field: &Field) -> String {
    match field {
        Field::Null => String::new(),
        Field::Long(value) => value.to_string(),
        Field::Double(value) => value.to_string(),
        Field::Str(text) => text.clone(),
        other => panic!("no table has such a cell: {other:?}"),
    }
}

/// That both files have the same columns and cells. How many rows there are.
fn same(directory: &Path, name: &str) -> usize {
    let csv = std::fs::read_to_string(directory.join(name).with_extension("csv")).unwrap();
    let mut csv: Vec<Vec<String>> = csv.lines().map(split).collect();
    let names: Vec<String> = columns(directory, name).into_iter().map(|(name, ..)| name).collect();
    assert_eq!(csv.remove(0), names, "{name}");
    let rows = parquet(directory, name);
    assert_eq!(rows.iter().map(|row| row.iter().map(text).collect()).collect::<Vec<Vec<String>>>(), csv, "{name}");
    rows.len()
}

#[test]
fn a_run_leaves_the_same_cells_as_csv_and_as_parquet() {
    // What is sent to the second operator while it is down is never batched.
    let scenario = "seed = 3\nduration_ms = 1500\n[committee]\nmembers = 4\n[node]\ncosts = \"measured\"\n[[load]]\nrate = 60.0\n\
                    bytes = 100\n[[fault]]\nat_ms = 500\ncrash = { node = 1, down_ms = 400 }\n";
    let mut simulation = Simulation::new(parse(scenario).unwrap()).unwrap();
    simulation.cluster.watch.recorder = Some(Box::new(Recorder::new(&simulation.cluster, 0..u64::MAX)));
    simulation.run_guarded();
    let directory = tempfile::tempdir().unwrap();
    write_tables(&simulation, directory.path()).unwrap();
    assert_eq!(same(directory.path(), "transactions"), simulation.sent.len());
    assert_eq!(same(directory.path(), "blocks"), simulation.cluster.invariants.blocks().count());
    assert!(same(directory.path(), "messages") > 5);
    assert_eq!(same(directory.path(), "nodes"), 4);

    let typed = columns(directory.path(), "transactions");
    let column = |name: &str, optional, of| (name.to_owned(), optional, of);
    assert_eq!(typed[0], column("sent_us", false, Type::INT64));
    assert_eq!(typed[3], column("batched_us", true, Type::INT64));
    assert_eq!(typed[6], column("id", false, Type::BYTE_ARRAY));
    let transactions = parquet(directory.path(), "transactions");
    let lost = transactions.iter().filter(|row| row[3] == Field::Null).count();
    assert!(lost > 0 && transactions.iter().all(|row| (row[3] == Field::Null) == (row[5] == Field::Null)), "{lost}");
    assert!(
        transactions.iter().any(|row| matches!(row[8], Field::Long(height) if height > 0)),
        "nobody recorded heights"
    );
}

const SCENARIO: &str =
    "duration_ms = 200\n[committee]\nmembers = 2\n[network]\ndelay_ms = 1.0\n[[load]]\nrate = 50.0\nbytes = 100\n";

#[test]
fn a_sweep_and_its_merged_shards_leave_the_same_cells_as_csv_and_as_parquet() {
    let root = tempfile::tempdir().unwrap();
    let parts = ["0", "1"].map(|name| root.path().join(name));
    let sweep = |shard| Sweep::new(SCENARIO, &["network.delay_ms=1,\"4\"".to_owned()], 1..3, (shard, 2));
    assert!(sweep(0).is_err(), "a text is no delay");
    let set = ["network.delay_ms=1,4".to_owned(), "name=\"one\",two".to_owned()];
    for (shard, out) in (0..).zip(&parts) {
        let sweep = Sweep::new(SCENARIO, &set, 1..3, (shard, 2)).unwrap();
        assert!(sweep.run(1, out, &|_, _| {}).unwrap());
        assert_eq!(same(out, "sweep"), 4);
    }
    let typed = columns(&parts[0], "sweep");
    assert_eq!(typed[1], ("seed".to_owned(), false, Type::INT64));
    assert_eq!(typed[8], ("batched_p50_ms".to_owned(), false, Type::DOUBLE));
    let merged = root.path().join("merged");
    merge(&parts, &merged, Lenience::default()).unwrap();
    assert_eq!(same(&merged, "sweep"), 8);
    let labels: Vec<String> = parquet(&merged, "sweep").iter().map(|row| text(&row[0])).collect();
    assert!(labels.contains(&"network.delay_ms=1 name=\"one\"".to_owned()), "{labels:?}");
}

#[test]
fn a_sweep_goes_on_behind_the_last_whole_line() {
    let root = tempfile::tempdir().unwrap();
    let csv = root.path().join("sweep.csv");
    let sweep = Sweep::new(SCENARIO, &["network.delay_ms=1,4".to_owned()], 1..3, (0, 1)).unwrap();
    sweep.run(1, root.path(), &|_, _| {}).unwrap();
    let whole = std::fs::read_to_string(&csv).unwrap();
    // Killed in the middle of the last line, after its seed.
    let last = whole.trim_end().rfind('\n').unwrap() + 1;
    std::fs::write(&csv, &whole[..last + 25]).unwrap();
    sweep.run(1, root.path(), &|_, _| {}).unwrap();
    assert_eq!(same(root.path(), "sweep"), 4);
    let without_time =
        |text: &str| -> Vec<String> { text.lines().map(|line| line.rsplit_once(',').unwrap().0.to_owned()).collect() };
    assert_eq!(without_time(&std::fs::read_to_string(&csv).unwrap()), without_time(&whole));

    std::fs::write(&csv, "set,seed\na=1,1\n").unwrap();
    let other = format!("{:#}", sweep.run(1, root.path(), &|_, _| {}).unwrap_err());
    assert!(other.contains("sweep.csv") && other.contains("its columns are \"set,seed\""), "{other}");
}

static COLUMNS: [Column; 4] = [
    Column::text("text"),
    Column::integer("count").or_empty(),
    Column::number("share"),
    Column::text("note").or_empty(),
];

#[test]
fn what_a_table_holds_is_read_back_from_both_files() {
    let directory = tempfile::tempdir().unwrap();
    let mut table = Table::new(&COLUMNS);
    table.push(["a, \"b\"".into(), u64::from(u32::MAX).into(), 0.1.into(), Cell::Empty]).unwrap();
    table.push(["".into(), Cell::Empty, (-1e300).into(), "ö".into()]).unwrap();
    table.push(["c".into(), (i64::MAX as u64).into(), f64::INFINITY.into(), "\"".into()]).unwrap();
    table.write(directory.path(), "all").unwrap();
    assert_eq!(same(directory.path(), "all"), 3);
    let csv = std::fs::read_to_string(directory.path().join("all.csv")).unwrap();
    assert_eq!(csv.lines().nth(1), Some("\"a, \"\"b\"\"\",4294967295,0.1,"));
    let read = Table::read(&COLUMNS, &directory.path().join("all.csv")).unwrap();
    for column in COLUMNS {
        assert_eq!(read.column(column.name), table.column(column.name));
    }
    Table::new(&COLUMNS).write(directory.path(), "none").unwrap();
    assert_eq!(same(directory.path(), "none"), 0);
}

#[test]
fn a_cell_that_is_not_of_its_column_is_refused_and_named() {
    let mut table = Table::new(&COLUMNS);
    let refused = |row| Table::new(&COLUMNS).push(row).unwrap_err().to_string();
    assert!(refused([Cell::Empty, 1u64.into(), 1.0.into(), "".into()]).contains("column text"));
    assert!(
        refused(["a".into(), u64::MAX.into(), 1.0.into(), "b".into()]).contains("column count holds a whole number")
    );
    assert!(refused(["a\nb".into(), 1u64.into(), 1.0.into(), "c".into()]).contains("of one line"));
    assert!(refused(["a".into(), 1u64.into(), 1u64.into(), "c".into()]).contains("column share holds a number"));
    assert!(table.push(["a".into(), 1u64.into(), 1.0.into(), "c".into()]).is_ok());
    let unread = |text| format!("{:#}", Table::parse(&COLUMNS, text).unwrap_err());
    assert!(unread("text,count,share,note\na,1,1,\nb,x,1,\n").contains("line 3: column count holds"));
    assert!(unread("text,count,share,note\na,1,1\n").contains("line 2 has 3 cells, not 4"));
    assert!(unread("text,count\n").contains("its columns are"));
    assert_eq!(Table::parse(&COLUMNS, "text,count,share,note\na,1,1,\nb,2").unwrap().rows(), 1);
}
