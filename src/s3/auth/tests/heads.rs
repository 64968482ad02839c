//! Signatures of heads.

use super::*;

const HOST: (&str, &str) = ("Host", "examplebucket.s3.amazonaws.com");
const DATE: (&str, &str) = ("x-amz-date", "20130524T000000Z");

fn get_object() -> Request {
    let headers = "host;range;x-amz-content-sha256;x-amz-date";
    let signature = "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41";
    let fields = [HOST, ("Range", "bytes=0-9"), ("x-amz-content-sha256", EMPTY), DATE];
    Request::new("GET", "/test.txt", "", &fields)
        .with("Authorization", &authorization(headers, signature))
}

fn put_object() -> Request {
    let headers = "date;host;x-amz-content-sha256;x-amz-date;x-amz-storage-class";
    let signature = "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd";
    let hash = "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072";
    let fields = [
        HOST,
        ("Date", "Fri, 24 May 2013 00:00:00 GMT"),
        DATE,
        ("x-amz-storage-class", "REDUCED_REDUNDANCY"),
        ("x-amz-content-sha256", hash),
        ("Content-Length", "21"),
    ];
    Request::new("PUT", "/test$file.text", "", &fields)
        .with("Authorization", &authorization(headers, signature))
}

fn presigned() -> Request {
    let query = "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host&X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404";
    Request::new("GET", "/test.txt", query, &[HOST])
}

/// A head whose signature the tests make themselves.
fn plain() -> Request {
    let fields = [
        ("host", "127.0.0.1:9000"),
        ("x-amz-content-sha256", "UNSIGNED-PAYLOAD"),
        ("x-amz-date", "20130524T000000Z"),
    ];
    Request::new("GET", "/b/k", "", &fields)
}

#[test]
fn published_examples_pass() {
    let identity = get_object().authenticate().unwrap();
    assert_eq!(identity.tenant, TenantId(7));
    assert!(!identity.presigned);
    assert!(matches!(identity.payload, Payload::Signed(hash) if hash == sha256::digest(b"")));
    assert!(put_object().authenticate().is_ok());
    for (query, signature) in [
        ("lifecycle", "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"),
        ("max-keys=2&prefix=J", "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"),
    ] {
        let fields = [HOST, ("x-amz-content-sha256", EMPTY), DATE];
        let value = authorization("host;x-amz-content-sha256;x-amz-date", signature);
        let request = Request::new("GET", "/", query, &fields).with("Authorization", &value);
        assert!(request.authenticate().is_ok(), "{query}");
    }
    let identity = presigned().authenticate_at(NOW_MS + 86_400_000).unwrap();
    assert!(identity.presigned);
    assert!(matches!(identity.payload, Payload::Unsigned));
}

#[test]
fn the_body_of_the_published_put_is_verified() {
    let taken = take(&put_object(), b"Welcome to Amazon S3.", &[100], &[100]);
    assert!(matches!(taken, Outcome::Stored(data, _) if data == b"Welcome to Amazon S3."));
    let taken = take(&put_object(), b"Welcome to Amazon S3!", &[3], &[2]);
    assert_eq!(taken, Outcome::Failed(BodyError::Sha256Mismatch));
}

#[test]
fn tampering_with_any_signed_part_is_seen() {
    let wrong = Some(Code::SignatureDoesNotMatch);
    let changed = |change: fn(&mut Request)| {
        let mut request = get_object();
        change(&mut request);
        request.refusal()
    };
    assert_eq!(changed(|r| r.method = "PUT"), wrong);
    assert_eq!(changed(|r| r.path = "/test.tx".into()), wrong);
    assert_eq!(changed(|r| r.query = "acl".into()), wrong);
    assert_eq!(get_object().with("Range", "bytes=0-99").refusal(), wrong);
    assert_eq!(get_object().with("Host", "other").refusal(), wrong);
    assert_eq!(get_object().with("x-amz-content-sha256", "UNSIGNED-PAYLOAD").refusal(), wrong);
    assert_eq!(get_object().with("x-amz-date", "20130524T000001Z").refusal(), wrong);
    let mut request = presigned();
    request.query = request.query.replace("86400", "86401");
    assert_eq!(request.refusal(), wrong);
    let mut request = presigned();
    request.query.push_str("&versionId=1");
    assert_eq!(request.refusal(), wrong);
    request.query = presigned().query.replace("404", "405");
    assert_eq!(request.refusal(), wrong);
}

#[test]
fn a_wrong_signature_is_explained() {
    let error = get_object().with("Range", "bytes=0-99").authenticate().unwrap_err();
    let detail = |wanted| {
        error.details.iter().find(|(name, _)| *name == wanted).map(|(_, value)| value.as_str())
    };
    assert_eq!(detail("AWSAccessKeyId"), Some(ID));
    assert!(
        detail("StringToSign").unwrap().starts_with(
            "AWS4-HMAC-SHA256\n20130524T000000Z\n20130524/us-east-1/s3/aws4_request\n"
        )
    );
    assert!(detail("SignatureProvided").unwrap().starts_with("f0e8bdb8"));
    assert!(detail("CanonicalRequest").unwrap().contains("range:bytes=0-99\n"));
}

#[test]
fn spellings_of_one_name_are_one() {
    let mut request = plain();
    request.path = "/b/a%20%2B%28x%29~".into();
    request.query = "prefix=a%20b%2Fc&x=".into();
    let mut request = request.signed();
    request.path = "/b/a%20+(x)%7E".into();
    request.query = "x&prefix=a+b/c".into();
    assert_eq!(request.refusal(), None);
}

#[test]
fn what_is_not_signed_is_refused() {
    let error = plain().signed().with("X-Amz-Acl", "private").authenticate().unwrap_err();
    assert_eq!(error.code, Code::AccessDenied);
    assert_eq!(error.details, [("HeadersNotSigned", "x-amz-acl".to_owned())]);
    assert_eq!(plain().signed().with("X-Amz-Cf-Id", "proxy").refusal(), None);
    assert_eq!(plain().signed().with("User-Agent", "any").refusal(), None);
    assert_eq!(
        plain().without("host").signed().with("host", "h").refusal(),
        Some(Code::AccessDenied)
    );
    let refusal = presigned().with("x-amz-meta-a", "1").refusal();
    assert_eq!(refusal, Some(Code::AccessDenied));
}

#[test]
fn who_and_where() {
    let foreign =
        plain().signed_for("20130524/eu-west-1/s3/aws4_request").authenticate().unwrap_err();
    assert_eq!(foreign.code, Code::AuthorizationHeaderMalformed);
    assert_eq!(foreign.details, [("Region", "us-east-1".to_owned())]);
    let malformed = Some(Code::AuthorizationHeaderMalformed);
    assert_eq!(plain().signed_for("20130524/us-east-1/ec2/aws4_request").refusal(), malformed);
    assert_eq!(plain().signed_for("20130523/us-east-1/s3/aws4_request").refusal(), malformed);
    assert_eq!(plain().signed_for("20130524/us-east-1/s3/aws3_request").refusal(), malformed);

    let mut request = plain().signed();
    for (_, value) in &mut request.fields {
        *value = value.replace(ID, "AKIANOBODY");
    }
    assert_eq!(request.refusal(), Some(Code::InvalidAccessKeyId));
    let token = plain().with("x-amz-security-token", "abc").signed();
    assert_eq!(token.refusal(), Some(Code::InvalidToken));
    assert_eq!(plain().refusal(), Some(Code::AccessDenied));
}

#[test]
fn asking_for_the_region_needs_no_knowledge_of_it() {
    let mut request = plain();
    request.query = "location=".into();
    let request = request.signed();
    let authenticator = Authenticator::new(tenants(), "eu-west-1");
    assert!(request.with_head(|head| authenticator.authenticate(head, NOW_MS)).is_ok());
    let other = plain().signed().with_head(|head| authenticator.authenticate(head, NOW_MS));
    let error = other.unwrap_err();
    assert_eq!(error.details, [("Region", "eu-west-1".to_owned())]);
}

#[test]
fn clocks() {
    const QUARTER: i64 = 15 * 60 * 1000;
    let code = |request: &Request, now_ms| request.authenticate_at(now_ms).err().map(|e| e.code);
    for within in [-QUARTER, QUARTER] {
        assert_eq!(code(&get_object(), NOW_MS + within), None);
        let beyond = NOW_MS + within + within.signum();
        assert_eq!(code(&get_object(), beyond), Some(Code::RequestTimeTooSkewed));
    }
    let late = presigned().authenticate_at(NOW_MS + 86_400_001).unwrap_err();
    assert_eq!((late.code, &*late.message), (Code::AccessDenied, "Request has expired"));
    assert_eq!(code(&presigned(), NOW_MS - QUARTER), None);
    assert_eq!(code(&presigned(), NOW_MS - QUARTER - 1), Some(Code::AccessDenied));

    let dated = plain().without("x-amz-date").signed();
    assert_eq!(dated.refusal(), Some(Code::AccessDenied));
    assert_eq!(
        plain().with("x-amz-date", "2013-05-24").signed().refusal(),
        Some(Code::AccessDenied)
    );
}

#[test]
fn malformed_authorizations() {
    let malformed = Code::AuthorizationHeaderMalformed;
    let scope = format!("{ID}/20130524/us-east-1/s3/aws4_request");
    for (value, code) in [
        ("AWS AKIA:sig=".to_owned(), Code::InvalidRequest),
        ("Basic dXNlcg==".to_owned(), Code::InvalidArgument),
        (String::new(), Code::InvalidArgument),
        ("AWS4-HMAC-SHA256".to_owned(), malformed),
        ("AWS4-HMAC-SHA256 ,,,".to_owned(), malformed),
        ("AWS4-HMAC-SHA256 Credential=a/b,SignedHeaders=host,Signature=0".to_owned(), malformed),
        (format!("AWS4-HMAC-SHA256 Credential={scope},SignedHeaders=host"), malformed),
        (format!("AWS4-HMAC-SHA256 Credential={scope},SignedHeaders=,Signature=0"), malformed),
        (format!("AWS4-HMAC-SHA256 Credential={scope},SignedHeaders=;,Signature=0"), malformed),
        (format!("AWS4-HMAC-SHA256 Credential={scope},Credential={scope},Signature=0"), malformed),
        (
            format!(
                "AWS4-HMAC-SHA256 Credential={scope},SignedHeaders=host;x-amz-content-sha256;x-amz-date,Signature=0"
            ),
            Code::SignatureDoesNotMatch,
        ),
    ] {
        assert_eq!(plain().with("Authorization", &value).refusal(), Some(code), "{value}");
    }
    let unhashed = plain().without("x-amz-content-sha256").signed();
    assert_eq!(unhashed.refusal(), Some(Code::InvalidRequest));
    let nonsense = plain().with("x-amz-content-sha256", "abc").signed();
    assert_eq!(nonsense.refusal(), Some(Code::InvalidArgument));
}

#[test]
fn malformed_presigned_queries() {
    let parameters = Some(Code::AuthorizationQueryParametersError);
    for (from, to) in [
        ("X-Amz-Expires=86400", "X-Amz-Expires=0"),
        ("X-Amz-Expires=86400", "X-Amz-Expires=604801"),
        ("X-Amz-Expires=86400", "X-Amz-Expires=-1"),
        ("X-Amz-Expires=86400", "X-Amz-Expires=x"),
        ("X-Amz-Expires=86400", "X-Amz-Expires=99999999999999999999"),
        ("X-Amz-Expires=86400", "y=1"),
        ("X-Amz-Expires=86400", "X-Amz-Expires=86400&X-Amz-Expires=1"),
        ("X-Amz-Date=20130524T000000Z", "X-Amz-Date=now"),
        ("X-Amz-SignedHeaders=host", "y=1"),
        ("us-east-1", "eu-west-1"),
        ("%2Fs3%2F", "%2Fec2%2F"),
        ("%2Faws4_request", ""),
        ("=AWS4-HMAC-SHA256", "=AWS4-HMAC-SHA1"),
    ] {
        let mut request = presigned();
        assert!(request.query.contains(from), "{from}");
        request.query = request.query.replace(from, to);
        assert_eq!(request.refusal(), parameters, "{to}");
    }
    let mut request = presigned();
    request.query = request.query.replace("host&", "%zz&");
    assert_eq!(request.refusal(), Some(Code::InvalidURI));
    request.query = "AWSAccessKeyId=a&Signature=b&Expires=1".into();
    assert_eq!(request.refusal(), Some(Code::InvalidRequest));
    assert_eq!(presigned().with("Authorization", "x").refusal(), Some(Code::InvalidArgument));
    let mut request = presigned();
    request.query.push_str("&X-Amz-Security-Token=abc");
    assert_eq!(request.refusal(), Some(Code::InvalidToken));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn arbitrary_heads_get_an_answer(
        path in "/[ -~é]{0,30}",
        query in "([a-zA-Z%&=+-]|X-Amz-(Algorithm|Credential|Date|Expires|Signature)=?){0,12}",
        value in "(AWS4-HMAC-SHA256 )?[ -~]{0,60}",
    ) {
        let mut request = plain().with("Authorization", &value);
        (request.path, request.query) = (path, query);
        prop_assert!(request.authenticate().is_err());
        prop_assert!(request.without("Authorization").authenticate().is_err());
    }
}
