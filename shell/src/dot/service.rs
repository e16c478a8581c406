//! The commands that stand for a call of dbint: `.help` shows how they are used, completion knows the keys of their options.

pub struct Service {
    pub command: &'static str,
    /// The function behind the command with names in front of its options, and without any.
    named: &'static str,
    alone: &'static str,
    /// What one types, and what it does.
    pub examples: &'static [(&'static str, &'static str)],
}

const SERVICES: &[Service] = &[
    Service {
        command: "health",
        named: "db_health",
        alone: "db_health",
        examples: &[
            (".health", "of this database"),
            (".health shop", "of the registered database shop"),
            (".health {\"level\": \"deep\"}", "with every check"),
        ],
    },
    Service {
        command: "sync",
        named: "sync_table",
        alone: "sync_all",
        examples: &[
            (".sync orders shop.db", "make orders in shop.db as it is here"),
            (".sync orders shop.db {\"dry_run\": true}", "only count what would change"),
            (".sync orders shop.db north.db", "from north.db to shop.db"),
            (".sync", "every table of sync_mapping"),
        ],
    },
    Service {
        command: "backup",
        named: "backup_database",
        alone: "backup_database",
        examples: &[
            (".backup", "this database, into the catalogue"),
            (".backup shop {\"type\": \"full\"}", "the registered database shop, whole"),
            (".backup copy.db", "a copy of this database, as a file"),
        ],
    },
    Service {
        command: "restore",
        named: "restore_database",
        alone: "restore_database",
        examples: &[
            (".restore first then.db", "the backup of that name, as a new file"),
            (".restore '2026-05-01 12:00' then.db {\"db\": \"shop\"}", "shop as it was at that time"),
            (".restore first shop.db {\"overwrite\": true}", "in place of shop.db, which is kept aside"),
        ],
    },
];

impl Service {
    pub fn of(command: &str) -> Option<&'static Service> {
        SERVICES.iter().find(|s| s.command == command)
    }

    /// The function whose options stand behind these words.
    pub fn function(&self, words: &str) -> &'static str {
        if words.trim().is_empty() { self.alone } else { self.named }
    }
}
