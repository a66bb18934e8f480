-- What BitTrade's database users may do (MariaDB 10.6 or newer, MySQL 8). Run as an administrator, after the first
-- `flask --app wsgi db upgrade` by the migrating user, and again after every upgrade that brings a new table: a grant on
-- a table needs the table. Replace `bittrade` (the database), the two users and their passwords with your own.
--
-- bittrade_migrate owns the tables; only `flask --app wsgi db upgrade` uses it, from the host that deploys.
-- bittrade_app is what web, worker, scheduler and operators' commands connect as. It can add to the books, the history
-- and the audit log and read them, but neither change nor remove a row, whatever bug or intruder asks it to.

CREATE USER IF NOT EXISTS 'bittrade_migrate'@'%' IDENTIFIED BY 'change-me-migrate';
GRANT SELECT, INSERT, UPDATE, DELETE, CREATE, ALTER, DROP, INDEX, REFERENCES ON `bittrade`.* TO 'bittrade_migrate'@'%';

CREATE USER IF NOT EXISTS 'bittrade_app'@'%' IDENTIFIED BY 'change-me-app';

-- With DATABASE_REPLICA_URL: how far the replica is behind is for who may ask it.
-- GRANT SLAVE MONITOR ON *.* TO 'bittrade_app'@'%';  -- MariaDB; on MySQL: REPLICATION CLIENT

-- Append-only: what happened stays.
GRANT SELECT, INSERT ON `bittrade`.`transactions` TO 'bittrade_app'@'%';
GRANT SELECT, INSERT ON `bittrade`.`ledger_legs` TO 'bittrade_app'@'%';
GRANT SELECT, INSERT ON `bittrade`.`audit_events` TO 'bittrade_app'@'%';
GRANT SELECT, INSERT ON `bittrade`.`traded_prices` TO 'bittrade_app'@'%';
GRANT SELECT, INSERT ON `bittrade`.`user_notes` TO 'bittrade_app'@'%';

-- Changed, never removed.
GRANT SELECT, INSERT, UPDATE ON `bittrade`.`users` TO 'bittrade_app'@'%';
GRANT SELECT, INSERT, UPDATE ON `bittrade`.`balances` TO 'bittrade_app'@'%';
GRANT SELECT, INSERT, UPDATE ON `bittrade`.`api_keys` TO 'bittrade_app'@'%';
GRANT SELECT, INSERT, UPDATE ON `bittrade`.`bitcoin_chart_data` TO 'bittrade_app'@'%';
GRANT SELECT, INSERT, UPDATE ON `bittrade`.`bitcoin_sentiment` TO 'bittrade_app'@'%';
GRANT SELECT, INSERT, UPDATE ON `bittrade`.`upstreams` TO 'bittrade_app'@'%';
GRANT SELECT, INSERT, UPDATE ON `bittrade`.`ledger_proofs` TO 'bittrade_app'@'%';
GRANT SELECT, INSERT, UPDATE ON `bittrade`.`ledger_checkpoints` TO 'bittrade_app'@'%';

GRANT SELECT, INSERT, UPDATE ON `bittrade`.`orders` TO 'bittrade_app'@'%';

GRANT SELECT, INSERT, UPDATE ON `bittrade`.`recurring_plans` TO 'bittrade_app'@'%';
GRANT SELECT, INSERT ON `bittrade`.`plan_runs` TO 'bittrade_app'@'%';

GRANT SELECT, INSERT, UPDATE ON `bittrade`.`loans` TO 'bittrade_app'@'%';

GRANT SELECT, INSERT, UPDATE ON `bittrade`.`approvals` TO 'bittrade_app'@'%';

-- Short-lived: purged when it has served its purpose.
GRANT SELECT, INSERT, UPDATE, DELETE ON `bittrade`.`sessions` TO 'bittrade_app'@'%';
GRANT SELECT, INSERT, UPDATE, DELETE ON `bittrade`.`login_failures` TO 'bittrade_app'@'%';
GRANT SELECT, INSERT, DELETE ON `bittrade`.`idempotency_keys` TO 'bittrade_app'@'%';
GRANT SELECT, INSERT, UPDATE, DELETE ON `bittrade`.`quotes` TO 'bittrade_app'@'%';
GRANT SELECT, INSERT, UPDATE, DELETE ON `bittrade`.`settings` TO 'bittrade_app'@'%';
GRANT SELECT, INSERT, DELETE ON `bittrade`.`bitcoin_data` TO 'bittrade_app'@'%';
GRANT SELECT, INSERT, UPDATE, DELETE ON `bittrade`.`bitcoin_price_events` TO 'bittrade_app'@'%';
GRANT SELECT, INSERT, UPDATE ON `bittrade`.`write_probes` TO 'bittrade_app'@'%';

-- `doctor` and the start compare the tables' revision with the code's.
GRANT SELECT ON `bittrade`.`alembic_version` TO 'bittrade_app'@'%';
