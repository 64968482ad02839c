//! Who asks: SigV4 (AWS Signature Version 4), and whether the body is what was signed.
