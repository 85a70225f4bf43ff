//! The gate over real machines: PostgreSQL with repmgr, HAProxy in front, networks that part.

mod bed;
