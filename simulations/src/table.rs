//! Tables. The columns are described once, and a table is written both as CSV and as Parquet, so that the two cannot differ.
//!
//! CSV: a line of names, then a line a row; what is not there is empty; a text with a comma or a quotation mark stands in
//! quotation marks, as RFC 4180 has it. Parquet: whole numbers are INT64, others DOUBLE, text is UTF-8; a column that may be
//! empty is optional, all others are required; compressed by Snappy.

use anyhow::{Context as _, ensure};
use parquet::basic::{Compression, LogicalType, Repetition, Type as Physical};
use parquet::data_type::{ByteArray, ByteArrayType, DataType, DoubleType, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedColumnWriter, SerializedFileWriter};
use parquet::schema::types::Type;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, BufWriter, Write as _};
use std::path::Path;
use std::sync::Arc;

/// What the cells of a column are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Integer,
    Number,
    Text,
}

/// A column.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    /// Its name.
    pub name: &'static str,
    kind: Kind,
    optional: bool,
}

impl Column {
    /// Of whole numbers up to 2^63 - 1.
    pub const fn integer(name: &'static str) -> Self {
        Self { name, kind: Kind::Integer, optional: false }
    }

    /// Of any numbers.
    pub const fn number(name: &'static str) -> Self {
        Self { name, kind: Kind::Number, optional: false }
    }

    /// Of text.
    pub const fn text(name: &'static str) -> Self {
        Self { name, kind: Kind::Text, optional: false }
    }

    /// The same, with cells that may be empty.
    pub const fn or_empty(self) -> Self {
        Self { optional: true, ..self }
    }

    fn cell(&self, text: &str) -> Option<Cell> {
        Some(match self.kind {
            _ if self.optional && text.is_empty() => Cell::Empty,
            Kind::Integer => Cell::Integer(text.parse().ok()?),
            Kind::Number => Cell::Number(text.parse().ok()?),
            Kind::Text => Cell::Text(text.to_owned()),
        })
    }

    fn holds(&self, cell: &Cell) -> bool {
        match (self.kind, cell) {
            (_, Cell::Empty) => self.optional,
            (Kind::Integer, Cell::Integer(value)) => i64::try_from(*value).is_ok(),
            (Kind::Number, Cell::Number(_)) => true,
            // A line break would end the line; empty text would be read as nothing.
            (Kind::Text, Cell::Text(text)) => !(text.contains(['\n', '\r']) || self.optional && text.is_empty()),
            _ => false,
        }
    }

    fn schema(&self) -> Result<Type, ParquetError> {
        let (physical, logical) = match self.kind {
            Kind::Integer => (Physical::INT64, None),
            Kind::Number => (Physical::DOUBLE, None),
            Kind::Text => (Physical::BYTE_ARRAY, Some(LogicalType::String)),
        };
        let repetition = if self.optional { Repetition::OPTIONAL } else { Repetition::REQUIRED };
        let column = Type::primitive_type_builder(self.name, physical);
        column.with_logical_type(logical).with_repetition(repetition).build()
    }

    fn expects(&self) -> String {
        let kind = match self.kind {
            Kind::Integer => "a whole number below 2^63",
            Kind::Number => "a number",
            Kind::Text => "text of one line",
        };
        format!("{kind}{}", if self.optional { " or nothing" } else { "" })
    }
}

/// What stands in a row and a column.
#[derive(Clone, Debug, PartialEq)]
pub enum Cell {
    /// Nothing.
    Empty,
    /// A whole number.
    Integer(u64),
    /// Any number.
    Number(f64),
    /// Text.
    Text(String),
}

impl From<u64> for Cell {
    fn from(value: u64) -> Self {
        Self::Integer(value)
    }
}

impl From<u32> for Cell {
    fn from(value: u32) -> Self {
        Self::Integer(value.into())
    }
}

impl From<usize> for Cell {
    fn from(value: usize) -> Self {
        Self::Integer(value as u64)
    }
}

impl From<f64> for Cell {
    fn from(value: f64) -> Self {
        Self::Number(value)
    }
}

impl From<&str> for Cell {
    fn from(value: &str) -> Self {
        Self::Text(value.to_owned())
    }
}

impl From<String> for Cell {
    fn from(value: String) -> Self {
        Self::Text(value)
    }
}

impl<T: Into<Self>> From<Option<T>> for Cell {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Empty, Into::into)
    }
}

impl Cell {
    fn csv(&self, out: &mut String) {
        let written = match self {
            Self::Empty => Ok(()),
            Self::Integer(value) => write!(out, "{value}"),
            Self::Number(value) => write!(out, "{value}"),
            Self::Text(text) if text.contains([',', '"']) => write!(out, "\"{}\"", text.replace('"', "\"\"")),
            Self::Text(text) => out.write_str(text),
        };
        // Writing into a string does not fail.
        let _ = written;
    }

    /// The whole number that it is.
    pub fn integer(&self) -> Option<u64> {
        if let Self::Integer(value) = self { Some(*value) } else { None }
    }

    /// The number that it is, whole or not.
    pub fn number(&self) -> Option<f64> {
        match self {
            Self::Integer(value) => Some(*value as f64),
            Self::Number(value) => Some(*value),
            Self::Empty | Self::Text(_) => None,
        }
    }

    /// The text that it is.
    pub fn text(&self) -> Option<&str> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }
}

/// A table of `N` columns.
#[derive(Clone, Debug)]
pub struct Table<const N: usize> {
    columns: &'static [Column; N],
    /// Of each column, from the first row on.
    cells: [Vec<Cell>; N],
}

impl<const N: usize> Table<N> {
    /// Without rows.
    pub fn new(columns: &'static [Column; N]) -> Self {
        Self { columns, cells: columns.map(|_| Vec::new()) }
    }

    /// The first line of its CSV file.
    pub fn header(columns: &[Column; N]) -> String {
        columns.map(|column| column.name).join(",") + "\n"
    }

    /// Adds a row.
    ///
    /// # Errors
    /// A cell that its column does not hold.
    pub fn push(&mut self, row: [Cell; N]) -> anyhow::Result<()> {
        for (column, cell) in self.columns.iter().zip(&row) {
            ensure!(column.holds(cell), "column {} holds {}, not {cell:?}", column.name, column.expects());
        }
        self.cells.iter_mut().zip(row).for_each(|(cells, cell)| cells.push(cell));
        Ok(())
    }

    /// How many rows there are.
    pub fn rows(&self) -> usize {
        self.cells.first().map_or(0, Vec::len)
    }

    /// The cells of the column of that name, from the first row on; none if there is no such column.
    pub fn column(&self, name: &str) -> &[Cell] {
        let place = self.columns.iter().position(|column| column.name == name);
        place.map_or(&[], |place| &self.cells[place])
    }

    /// The line of a row, with its end.
    pub fn line(&self, row: usize) -> String {
        let mut out = String::new();
        for (place, cell) in self.cells.iter().filter_map(|cells| cells.get(row)).enumerate() {
            if place > 0 {
                out.push(',');
            }
            cell.csv(&mut out);
        }
        out.push('\n');
        out
    }

    /// Reads what stands in a CSV file of these columns. A last line without its end is of a row that was not written to
    /// the end, and is left out.
    ///
    /// # Errors
    /// Other columns; a line that is no row of them, by its number.
    pub fn parse(columns: &'static [Column; N], text: &str) -> anyhow::Result<Self> {
        let mut table = Self::new(columns);
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        let mut lines = whole.lines().enumerate();
        let first = lines.next().map_or("", |(_, line)| line);
        let header = Self::header(columns);
        ensure!(first == header.trim_end(), "its columns are {first:?}, not {:?}", header.trim_end());
        for (at, line) in lines {
            let texts = split(line);
            ensure!(texts.len() == N, "line {} has {} cells, not {N}: {line:?}", at + 1, texts.len());
            for ((column, cells), text) in columns.iter().zip(&mut table.cells).zip(texts) {
                let cell = column.cell(&text).filter(|cell| column.holds(cell));
                cells.push(cell.with_context(|| {
                    format!("line {}: column {} holds {}, not {text:?}", at + 1, column.name, column.expects())
                })?);
            }
        }
        Ok(table)
    }

    /// Reads a CSV file of these columns.
    ///
    /// # Errors
    /// As [`Table::parse`], and what reading gives.
    pub fn read(columns: &'static [Column; N], path: &Path) -> anyhow::Result<Self> {
        let read = || Self::parse(columns, &std::fs::read_to_string(path)?);
        read().with_context(|| format!("cannot read {}", path.display()))
    }

    /// Writes it into a directory, as `NAME.csv` and `NAME.parquet`.
    ///
    /// # Errors
    /// What writing gives.
    pub fn write(&self, directory: &Path, name: &str) -> anyhow::Result<()> {
        let path = directory.join(format!("{name}.csv"));
        self.csv(&path).with_context(|| format!("cannot write {}", path.display()))?;
        self.write_parquet(directory, name)
    }

    fn csv(&self, path: &Path) -> io::Result<()> {
        let mut file = BufWriter::new(File::create(path)?);
        file.write_all(Self::header(self.columns).as_bytes())?;
        (0..self.rows()).try_for_each(|row| file.write_all(self.line(row).as_bytes()))?;
        file.flush()
    }

    /// Writes it into a directory as `NAME.parquet`.
    ///
    /// # Errors
    /// What writing gives.
    pub fn write_parquet(&self, directory: &Path, name: &str) -> anyhow::Result<()> {
        let path = directory.join(format!("{name}.parquet"));
        let file = File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
        self.parquet(name, file).with_context(|| format!("cannot write {}", path.display()))
    }

    fn parquet(&self, name: &str, file: File) -> Result<(), ParquetError> {
        let columns = self.columns.iter().map(|column| column.schema().map(Arc::new)).collect::<Result<_, _>>()?;
        let schema = Type::group_type_builder(name).with_fields(columns).build()?;
        let properties = WriterProperties::builder().set_compression(Compression::SNAPPY).build();
        let mut file = SerializedFileWriter::new(BufWriter::new(file), Arc::new(schema), Arc::new(properties))?;
        let mut group = file.next_row_group()?;
        for (column, cells) in self.columns.iter().zip(&self.cells) {
            if let Some(mut writer) = group.next_column()? {
                match column.kind {
                    Kind::Integer => put::<Int64Type>(&mut writer, column, cells, |cell| {
                        cell.integer().and_then(|value| value.try_into().ok())
                    })?,
                    Kind::Number => put::<DoubleType>(&mut writer, column, cells, Cell::number)?,
                    Kind::Text => {
                        put::<ByteArrayType>(&mut writer, column, cells, |cell| cell.text().map(ByteArray::from))?
                    }
                }
                writer.close()?;
            }
        }
        group.close()?;
        file.close().map(drop)
    }
}

/// Writes a column: its values, and which cells have one if some may have none.
fn put<T: DataType>(
    writer: &mut SerializedColumnWriter<'_>,
    column: &Column,
    cells: &[Cell],
    value: fn(&Cell) -> Option<T::T>,
) -> Result<(), ParquetError> {
    let values: Vec<T::T> = cells.iter().filter_map(value).collect();
    let there = || cells.iter().map(|cell| i16::from(*cell != Cell::Empty)).collect();
    let there: Option<Vec<i16>> = column.optional.then(there);
    writer.typed::<T>().write_batch(&values, there.as_deref(), None).map(drop)
}

/// The cells of a CSV line.
pub fn split(line: &str) -> Vec<String> {
    let (mut cells, mut cell, mut quoted) = (Vec::new(), String::new(), false);
    let mut rest = line.chars().peekable();
    while let Some(next) = rest.next() {
        match next {
            '"' if quoted && rest.peek() == Some(&'"') => {
                rest.next();
                cell.push('"');
            }
            '"' => quoted = !quoted,
            ',' if !quoted => cells.push(std::mem::take(&mut cell)),
            other => cell.push(other),
        }
    }
    cells.push(cell);
    cells
}
