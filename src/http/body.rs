//! Framing of request bodies: Content-Length, chunked, none.
