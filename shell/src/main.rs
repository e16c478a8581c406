//! The dbint shell.
fn main() -> rusqlite::Result<()> {
    dbint::kit::silence_caught_panics();
    let db = rusqlite::Connection::open_in_memory()?;
    dbint::register(&db)?;
    let mut q = db.prepare("SELECT signature || ' -- ' || summary FROM dbint_functions")?;
    for line in q.query_map([], |r| r.get::<_, String>(0))? {
        println!("{}", line?);
    }
    Ok(())
}
