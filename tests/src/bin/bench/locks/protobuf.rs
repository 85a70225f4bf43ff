//! As much of protobuf as a few messages of numbers and bytes need.

/// Adds a field that is a number.
pub fn number(mut message: Vec<u8>, field: u32, value: u64) -> Vec<u8> {
    varint(&mut message, u64::from(field) << 3);
    varint(&mut message, value);
    message
}

/// Adds a field of bytes.
pub fn bytes(mut message: Vec<u8>, field: u32, value: &[u8]) -> Vec<u8> {
    varint(&mut message, u64::from(field) << 3 | 2);
    varint(&mut message, value.len() as u64);
    message.extend_from_slice(value);
    message
}

/// The number in a field; none when it is not there or is none.
pub fn get_number(message: &[u8], field: u32) -> Option<u64> {
    match get(message, field)? {
        Value::Number(number) => Some(number),
        Value::Bytes(_) => None,
    }
}

/// The bytes in a field; none when it is not there or has none.
pub fn get_bytes(message: &[u8], field: u32) -> Option<&[u8]> {
    match get(message, field)? {
        Value::Bytes(bytes) => Some(bytes),
        Value::Number(_) => None,
    }
}

enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

fn get(mut message: &[u8], field: u32) -> Option<Value<'_>> {
    loop {
        let key = take_varint(&mut message)?;
        let value = match key & 7 {
            0 => Value::Number(take_varint(&mut message)?),
            1 => Value::Bytes(message.split_off(..8)?),
            2 => {
                let length = usize::try_from(take_varint(&mut message)?).ok()?;
                Value::Bytes(message.split_off(..length)?)
            }
            5 => Value::Bytes(message.split_off(..4)?),
            _ => return None,
        };
        if key >> 3 == u64::from(field) {
            return Some(value);
        }
    }
}

fn varint(message: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        message.push((value & 0x7F) as u8 | 0x80);
        value >>= 7;
    }
    message.push(value as u8);
}

fn take_varint(message: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let byte = *message.split_off_first()?;
        value |= u64::from(byte & 0x7F) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documentation_s_examples() {
        assert_eq!(number(Vec::new(), 1, 150), [0x08, 0x96, 0x01]);
        assert_eq!(bytes(Vec::new(), 2, b"testing"), [0x12, 7, b't', b'e', b's', b't', b'i', b'n', b'g']);
    }

    #[test]
    fn fields_are_found_behind_others() {
        let message = bytes(number(bytes(Vec::new(), 1, b"header"), 2, u64::MAX), 3, b"");
        assert_eq!(get_bytes(&message, 1), Some(&b"header"[..]));
        assert_eq!(get_number(&message, 2), Some(u64::MAX));
        assert_eq!(get_bytes(&message, 3), Some(&b""[..]));
        assert_eq!(get_number(&message, 4), None);
        assert_eq!(get_number(&message, 1), None);
        assert_eq!(get_bytes(&message[..4], 1), None);
    }
}
