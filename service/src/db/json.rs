//! JSON as text on its way to and from the database, neither parsed nor rendered here.

use std::error::Error;

use tokio_postgres::types::private::BytesMut;
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type, accepts, to_sql_checked};

/// JSON text as a parameter or a result of type json, jsonb or text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Json<'a>(pub &'a str);

/// The version byte before the text in jsonb's binary format.
const JSONB_VERSION: u8 = 1;

impl ToSql for Json<'_> {
    fn to_sql(&self, ty: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        if *ty == Type::JSONB {
            out.extend_from_slice(&[JSONB_VERSION]);
        }
        out.extend_from_slice(self.0.as_bytes());
        Ok(IsNull::No)
    }

    accepts!(JSON, JSONB, TEXT);
    to_sql_checked!();
}

impl<'a> FromSql<'a> for Json<'a> {
    fn from_sql(ty: &Type, mut raw: &'a [u8]) -> Result<Self, Box<dyn Error + Sync + Send>> {
        if *ty == Type::JSONB {
            raw = raw.strip_prefix(&[JSONB_VERSION]).ok_or("an unknown version of jsonb")?;
        }
        Ok(Self(std::str::from_utf8(raw)?))
    }

    accepts!(JSON, JSONB, TEXT);
}
