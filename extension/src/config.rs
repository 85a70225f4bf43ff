//! Settings of the server: how long history is kept.

use pgrx::{GucContext, GucFlags, GucRegistry, GucSetting};
use std::ffi::{CStr, CString};

static EVENT_RETENTION: GucSetting<Option<CString>> = GucSetting::<Option<CString>>::new(Some(c"90 days"));
static JOB_RETENTION: GucSetting<Option<CString>> = GucSetting::<Option<CString>>::new(Some(c"7 days"));

/// Declares the settings.
pub fn register() {
    let text = |name: &'static CStr,
                short: &'static CStr,
                long: &'static CStr,
                setting: &'static GucSetting<Option<CString>>| {
        GucRegistry::define_string_guc(name, short, long, setting, GucContext::Sighup, GucFlags::default());
    };
    text(c"goahead.event_retention", c"How long events are kept.", c"An interval such as 90 days.", &EVENT_RETENTION);
    text(c"goahead.job_retention", c"How long finished jobs are kept.", c"An interval such as 7 days.", &JOB_RETENTION);
}

fn value(setting: &'static GucSetting<Option<CString>>, default: &str) -> String {
    setting.get().and_then(|text| text.into_string().ok()).unwrap_or_else(|| default.to_owned())
}

/// How long events are kept, as an interval's text.
pub fn event_retention() -> String {
    value(&EVENT_RETENTION, "90 days")
}

/// How long finished jobs are kept, as an interval's text.
pub fn job_retention() -> String {
    value(&JOB_RETENTION, "7 days")
}
