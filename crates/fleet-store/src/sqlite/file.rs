//! The file: lock, schema, reading it all, and what errors mean in words.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rusqlite::{Connection, Error, ErrorCode, OpenFlags};

use crate::change::Stored;
use crate::state::State;
use crate::store::FIRST_REVISION;
use crate::{Key, OpenError, Options};

/// Says "a fleetctl store" in SQLite's header: "flct".
const APPLICATION: i64 = 0x666c_6374;
/// The version of the tables below.
const SCHEMA: i64 = 1;

const TABLES: &str = "
    CREATE TABLE meta (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT, WITHOUT ROWID;
    CREATE TABLE current (
        cluster TEXT NOT NULL,
        resource TEXT NOT NULL,
        namespace TEXT NOT NULL,
        name TEXT NOT NULL,
        revision INTEGER NOT NULL,
        created INTEGER NOT NULL,
        value BLOB NOT NULL,
        PRIMARY KEY (cluster, resource, namespace, name)
    ) STRICT;
";

/// An open file. Fields drop in order: the lock goes last.
#[derive(Debug)]
pub(super) struct OpenFile {
    pub(super) connection: Connection,
    _lock: File,
}

/// Opens or creates the file and makes sure that it is ours, sound, and of this version.
pub(super) fn open(path: &Path) -> Result<OpenFile, OpenError> {
    let lock = lock(path)?;
    let failed = |step| move |error: Error| describe(path, step, &error);
    let flags =
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(failed("opening the file"))?;
    // Whoever else has it (a sqlite3 shell) is told to the user at once, not waited for.
    connection.busy_timeout(Duration::ZERO).map_err(failed("setting the timeout"))?;
    // Exclusive: no shared-memory file, no other process. FULL: a transaction is on disk when it is answered.
    connection
        .execute_batch(
            "PRAGMA locking_mode = EXCLUSIVE;
             PRAGMA synchronous = FULL;
             PRAGMA journal_size_limit = 67108864;
             PRAGMA cell_size_check = ON;
             PRAGMA trusted_schema = OFF;",
        )
        .map_err(failed("setting it up"))?;
    let read = |pragma: &str| connection.query_row(pragma, [], |row| row.get::<_, i64>(0));
    let tables = read("SELECT count(*) FROM sqlite_schema").map_err(failed("reading the header"))?;
    let application = read("PRAGMA application_id").map_err(failed("reading the header"))?;
    let version = read("PRAGMA user_version").map_err(failed("reading the header"))?;
    match (tables, application, version) {
        (0, 0, 0) => {
            connection
                .query_row("PRAGMA journal_mode = WAL", [], |_| Ok(()))
                .map_err(failed("creating it"))?;
            let create = format!(
                "BEGIN EXCLUSIVE; PRAGMA application_id = {APPLICATION}; PRAGMA user_version = {SCHEMA}; {TABLES}
                 INSERT INTO meta VALUES ('revision', {FIRST_REVISION}); COMMIT;"
            );
            connection.execute_batch(&create).map_err(failed("creating the tables"))?;
        }
        (_, APPLICATION, SCHEMA) => {
            connection
                .query_row("PRAGMA journal_mode = WAL", [], |_| Ok(()))
                .map_err(failed("reading the log"))?;
            check(path, &connection)?;
        }
        (_, APPLICATION, found) => {
            return Err(OpenError::Schema { path: path.to_owned(), found, expected: SCHEMA });
        }
        _ => return Err(OpenError::Foreign { path: path.to_owned() }),
    }
    Ok(OpenFile { connection, _lock: lock })
}

/// A lock beside the file: closing any handle of the file itself would drop SQLite's own locks on some systems.
fn lock(path: &Path) -> Result<File, OpenError> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".lock");
    let unwritable =
        |error: std::io::Error| OpenError::NotWritable { path: path.to_owned(), detail: error.to_string() };
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(PathBuf::from(beside))
        .map_err(unwritable)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenError::Locked { path: path.to_owned() }),
        Err(TryLockError::Error(error)) => Err(unwritable(error)),
    }
}

fn check(path: &Path, connection: &Connection) -> Result<(), OpenError> {
    let verdict: String = connection
        .query_row("PRAGMA quick_check(1)", [], |row| row.get(0))
        .map_err(|error| describe(path, "checking it", &error))?;
    if verdict == "ok" { Ok(()) } else { Err(OpenError::Corrupt { path: path.to_owned(), detail: verdict }) }
}

impl OpenFile {
    /// Reads everything into a state whose history begins now.
    pub(super) fn load(&mut self, path: &Path, options: &Options) -> Result<State, OpenError> {
        let failed = |error: Error| describe(path, "reading the objects", &error);
        let damaged = |detail: String| OpenError::Corrupt { path: path.to_owned(), detail };
        let revision = self.revision().map_err(failed)?;
        let mut state = State::new(options, revision);
        let mut statement = self
            .connection
            .prepare("SELECT cluster, resource, namespace, name, revision, created, value FROM current ORDER BY 1, 2, 3, 4")
            .map_err(failed)?;
        let mut rows = statement.query([]).map_err(failed)?;
        let mut shared = Shared::default();
        while let Some(row) = rows.next().map_err(failed)? {
            let text = |column| row.get_ref(column).and_then(|value| Ok(value.as_str()?));
            let key = Key {
                cluster: shared.cluster.of(text(0).map_err(failed)?),
                resource: shared.resource.of(text(1).map_err(failed)?),
                namespace: shared.namespace.of(text(2).map_err(failed)?),
                name: Arc::from(text(3).map_err(failed)?),
            };
            let number = |column| row.get::<_, i64>(column).map(i64::cast_unsigned);
            let value: Vec<u8> = row.get(6).map_err(failed)?;
            let stored = Stored {
                value: Bytes::from(value),
                revision: number(4).map_err(failed)?,
                created: number(5).map_err(failed)?,
            };
            if stored.revision > revision || stored.created > stored.revision {
                return Err(damaged(format!("{key} is newer than the store's revision {revision}")));
            }
            state.load(key, stored);
        }
        Ok(state)
    }

    /// The revision of the last transaction on disk.
    pub(super) fn revision(&self) -> Result<u64, Error> {
        let query = "SELECT value FROM meta WHERE name = 'revision'";
        self.connection.query_row(query, [], |row| row.get::<_, i64>(0)).map(i64::cast_unsigned)
    }
}

/// Rows come sorted, so neighbours share their strings.
#[derive(Default)]
struct Shared {
    cluster: Last,
    resource: Last,
    namespace: Last,
}

#[derive(Default)]
struct Last(Arc<str>);

impl Last {
    fn of(&mut self, text: &str) -> Arc<str> {
        if &*self.0 != text {
            self.0 = Arc::from(text);
        }
        Arc::clone(&self.0)
    }
}

/// What SQLite's error means for whoever starts the program.
fn describe(path: &Path, step: &'static str, error: &Error) -> OpenError {
    let path = path.to_owned();
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => OpenError::Locked { path },
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
            OpenError::Corrupt { path, detail: error.to_string() }
        }
        Some(ErrorCode::ReadOnly | ErrorCode::CannotOpen | ErrorCode::PermissionDenied) => {
            OpenError::NotWritable { path, detail: error.to_string() }
        }
        Some(ErrorCode::DiskFull) => OpenError::DiskFull { path },
        _ => match error {
            // A column of another type than the schema says, or no row where one must be.
            Error::FromSqlConversionFailure(..)
            | Error::InvalidColumnType(..)
            | Error::QueryReturnedNoRows
            | Error::Utf8Error(..) => OpenError::Corrupt { path, detail: error.to_string() },
            _ => OpenError::Failed { path, step, detail: error.to_string() },
        },
    }
}
