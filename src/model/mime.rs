//! Types of files (RFC 2046) by their names' endings, and what gateways call them.

/// Whether a file of this type can be read as plain text. A page cannot: its marks are no words.
pub fn is_readable(mime: &str) -> bool {
    let also = matches!(
        mime,
        "application/json" | "application/xml" | "application/yaml" | "message/rfc822" | "application/x-ndjson"
    );
    (mime.starts_with("text/") && mime != "text/html") || also
}

/// The name that WhatsApp's gateways know a type by.
pub fn common(mime: &str) -> &str {
    match mime {
        "image/jpg" | "image/pjpeg" => "image/jpeg",
        "audio/m4a" | "audio/x-m4a" => "audio/mp4",
        "audio/opus" => "audio/ogg",
        "audio/mp3" => "audio/mpeg",
        "audio/x-wav" => "audio/wav",
        "video/x-m4v" => "video/mp4",
        "application/x-pdf" => "application/pdf",
        "application/x-zip-compressed" => "application/zip",
        other => other,
    }
}

/// What phones show as a picture.
pub const PICTURES: &[&str] = &["image/jpeg", "image/png", "image/webp", "image/gif"];
/// Those that are shown whole where they stand still, as in cards.
pub const STILLS: &[&str] = &["image/jpeg", "image/png", "image/webp"];

/// Types that are ZIP archives inside.
pub const ZIPPED: &[&str] = &[DOCX, XLSX, PPTX, ODT, ODS, ODP, EPUB, APK, JAR];
/// Types that are compound files inside, as Office wrote them until 2007.
pub const COMPOUND: &[&str] = &[DOC, XLS, PPT, MSG];

/// Word.
pub const DOC: &str = "application/msword";
/// Word since 2007.
pub const DOCX: &str = "application/vnd.openxmlformats-officedocument.wordprocessingml.document";
/// Excel.
pub const XLS: &str = "application/vnd.ms-excel";
/// Excel since 2007.
pub const XLSX: &str = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet";
/// PowerPoint.
pub const PPT: &str = "application/vnd.ms-powerpoint";
/// PowerPoint since 2007.
pub const PPTX: &str = "application/vnd.openxmlformats-officedocument.presentationml.presentation";
const ODT: &str = "application/vnd.oasis.opendocument.text";
const ODS: &str = "application/vnd.oasis.opendocument.spreadsheet";
const ODP: &str = "application/vnd.oasis.opendocument.presentation";
const EPUB: &str = "application/epub+zip";
const APK: &str = "application/vnd.android.package-archive";
const JAR: &str = "application/java-archive";
const MSG: &str = "application/vnd.ms-outlook";

/// What a name's ending says.
pub fn by_name(name: &str) -> Option<&'static str> {
    let ending = name.rsplit_once('.')?.1.to_ascii_lowercase();
    Some(match ending.as_str() {
        "jpg" | "jpeg" => "image/jpeg",
        "png" => "image/png",
        "webp" => "image/webp",
        "gif" => "image/gif",
        "svg" => "image/svg+xml",
        "heic" => "image/heic",
        "heif" => "image/heif",
        "mp4" | "m4v" => "video/mp4",
        "3gp" => "video/3gpp",
        "mov" => "video/quicktime",
        "webm" => "video/webm",
        "mkv" => "video/x-matroska",
        "avi" => "video/x-msvideo",
        "mp3" => "audio/mpeg",
        "m4a" => "audio/mp4",
        "aac" => "audio/aac",
        "amr" => "audio/amr",
        "ogg" | "opus" | "oga" => "audio/ogg",
        "wav" => "audio/wav",
        "pdf" => "application/pdf",
        "txt" | "log" => "text/plain",
        "csv" => "text/csv",
        "tsv" => "text/tab-separated-values",
        "md" | "markdown" => "text/markdown",
        "ics" => "text/calendar",
        "vcf" => "text/vcard",
        "html" | "htm" => "text/html",
        "xml" => "application/xml",
        "yaml" | "yml" => "application/yaml",
        "json" => "application/json",
        "eml" => "message/rfc822",
        "rtf" => "application/rtf",
        "zip" => "application/zip",
        "doc" => DOC,
        "docx" => DOCX,
        "xls" => XLS,
        "xlsx" => XLSX,
        "ppt" => PPT,
        "pptx" => PPTX,
        "msg" => MSG,
        "odt" => ODT,
        "ods" => ODS,
        "odp" => ODP,
        "epub" => EPUB,
        "apk" => APK,
        "jar" => JAR,
        _ => return None,
    })
}
