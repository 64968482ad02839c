#!/usr/bin/env python3
"""Checks an S3 server through boto3: one function for each behaviour, each in a bucket of its own.

Usage: boto3_checks.py ENDPOINT [NAME...]      keys from AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY
Prints `PASS name` or `FAIL name: why` for each; the status is 1 if any failed.
"""

import base64
import concurrent.futures
import datetime
import hashlib
import io
import os
import random
import sys
import time
import traceback
import urllib.error
import urllib.request
import uuid
import zlib

import boto3
import boto3.s3.transfer
import botocore.auth
import botocore.awsrequest
import botocore.credentials
import botocore.exceptions
import botocore.handlers
from botocore.config import Config

ENDPOINT = ""
REGION = os.environ.get("AWS_DEFAULT_REGION", "us-east-1")
MIB = 1 << 20
CHECKS = []


def check(function):
    CHECKS.append(function)
    return function


def client(**changes):
    settings = {"region_name": REGION, "endpoint_url": ENDPOINT}
    config = Config(
        s3={"addressing_style": "path", **changes.pop("s3", {})},
        retries={"max_attempts": 1, "mode": "standard"},
        max_pool_connections=32,
        signature_version=changes.pop("signature_version", "s3v4"),
        **changes.pop("config", {}),
    )
    return boto3.client("s3", config=config, **{**settings, **changes})


def data(size, seed=0):
    return random.Random(f"{size}/{seed}").randbytes(size)


def equal(found, wanted, what=""):
    if found != wanted:
        short = lambda value: repr(value)[:200]
        raise AssertionError(f"{what} {short(found)}, not {short(wanted)}".strip())


def refused(code, status, operation, **arguments):
    """The operation must fail with this code (or one of them) and status; returns the error."""
    codes = code if isinstance(code, tuple) else (code,)
    try:
        operation(**arguments)
    except botocore.exceptions.ClientError as error:
        found = error.response["Error"]["Code"]
        if found not in codes or error.response["ResponseMetadata"]["HTTPStatusCode"] != status:
            http = error.response["ResponseMetadata"]["HTTPStatusCode"]
            raise AssertionError(f"{http} {found}, not {status} {' or '.join(codes)}") from None
        return error.response
    raise AssertionError(f"accepted, not {status} {' or '.join(codes)}")


def body(s3, bucket, key, **arguments):
    return s3.get_object(Bucket=bucket, Key=key, **arguments)["Body"].read()


def keys(page):
    return [entry["Key"] for entry in page.get("Contents", [])]


def prefixes(page):
    return [entry["Prefix"] for entry in page.get("CommonPrefixes", [])]


def fetch(url, method="GET", payload=None, headers=None):
    request = urllib.request.Request(url, data=payload, method=method, headers=headers or {})
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, answer.read(), answer.headers
    except urllib.error.HTTPError as error:
        return error.code, error.read(), error.headers


# Buckets


@check
def buckets(s3, bucket):
    other = bucket + "-other"
    s3.create_bucket(Bucket=other)
    s3.head_bucket(Bucket=other)
    names = [one["Name"] for one in s3.list_buckets()["Buckets"]]
    assert bucket in names and other in names, names
    equal(names, sorted(names), "order")
    location = s3.get_bucket_location(Bucket=other)["LocationConstraint"]
    equal(location, None if REGION == "us-east-1" else REGION)
    s3.put_object(Bucket=other, Key="k", Body=b"x")
    refused("BucketNotEmpty", 409, s3.delete_bucket, Bucket=other)
    s3.delete_object(Bucket=other, Key="k")
    s3.delete_bucket(Bucket=other)
    refused("404", 404, s3.head_bucket, Bucket=other)
    refused("NoSuchBucket", 404, s3.delete_bucket, Bucket=other)


@check
def bucket_configuration_that_clients_ask_for(s3, bucket):
    assert "Status" not in s3.get_bucket_versioning(Bucket=bucket)
    refused(
        "ObjectLockConfigurationNotFoundError",
        404,
        s3.get_object_lock_configuration,
        Bucket=bucket,
    )


@check
def bad_bucket_names(s3, bucket):
    raw = client()
    raw.meta.events.unregister(
        "before-parameter-build.s3", botocore.handlers.validate_bucket_name
    )
    for name in ("ab", "Upper-Case", "under_score", "192.168.5.4", "a" * 64, "-dash"):
        refused("InvalidBucketName", 400, raw.create_bucket, Bucket=name)


# Objects


@check
def round_trips_of_every_size_class(s3, bucket):
    sizes = [0, 1, 4095, 4096, 4097, 32767, 32768, 32769, 65536, 65537, MIB - 1, MIB, MIB + 1]
    for size in [*sizes, 8 * MIB, 8 * MIB + 1, 9 * MIB + 17]:
        payload = data(size)
        put = s3.put_object(Bucket=bucket, Key=f"s/{size}", Body=payload)
        equal(put["ETag"], f'"{hashlib.md5(payload).hexdigest()}"', f"ETag of {size}")
        got = s3.get_object(Bucket=bucket, Key=f"s/{size}")
        equal(got["ContentLength"], size)
        equal(got["ETag"], put["ETag"])
        equal(got["Body"].read(), payload, f"body of {size}")
        equal(s3.head_object(Bucket=bucket, Key=f"s/{size}")["ContentLength"], size)


@check
def overwrite_and_delete(s3, bucket):
    for payload in (b"first", data(MIB), b"", data(50_000)):
        s3.put_object(Bucket=bucket, Key="k", Body=payload)
        equal(body(s3, bucket, "k"), payload)
    equal(s3.delete_object(Bucket=bucket, Key="k")["ResponseMetadata"]["HTTPStatusCode"], 204)
    refused("NoSuchKey", 404, s3.get_object, Bucket=bucket, Key="k")
    refused("404", 404, s3.head_object, Bucket=bucket, Key="k")
    s3.delete_object(Bucket=bucket, Key="k")


@check
def metadata_and_headers(s3, bucket):
    expires = datetime.datetime(2031, 2, 3, 4, 5, 6, tzinfo=datetime.timezone.utc)
    given = {
        "ContentType": "text/x-test; charset=utf-8",
        "CacheControl": "max-age=60",
        "ContentDisposition": 'attachment; filename="a b.txt"',
        "ContentEncoding": "gzip",
        "ContentLanguage": "de, en",
        "Metadata": {"one": "1", "two-words": "with  two spaces", "mixed": "Case"},
    }
    s3.put_object(Bucket=bucket, Key="k", Body=b"x", Expires=expires, **given)
    for answer in (s3.head_object(Bucket=bucket, Key="k"), s3.get_object(Bucket=bucket, Key="k")):
        for name, value in given.items():
            if name != "Metadata":
                equal(answer[name], value, name)
        equal(answer["Metadata"]["one"], "1")
        equal(answer["Metadata"]["mixed"], "Case")
        assert answer["LastModified"].tzinfo and answer["AcceptRanges"] == "bytes"
    s3.put_object(Bucket=bucket, Key="plain", Body=b"x")
    equal(s3.head_object(Bucket=bucket, Key="plain")["ContentType"], "binary/octet-stream")


@check
def response_overrides(s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"x", ContentType="text/plain")
    got = s3.get_object(
        Bucket=bucket,
        Key="k",
        ResponseContentType="application/x-other",
        ResponseContentDisposition="inline",
        ResponseCacheControl="no-store",
    )
    equal(got["ContentType"], "application/x-other")
    equal(got["ContentDisposition"], "inline")
    equal(got["CacheControl"], "no-store")


@check
def odd_keys(s3, bucket):
    odd = [
        "a//b", "//", "/leading", "trailing/", "..", "../up", "a/../b", "a/./b", ".", "sp ace", " ",
        "plus+plus", "per%cent", "%00", "%2F", "q?x=y&z", "hash#x", "semi;colon", "quo\"te", "ap'os",
        "<tag>&amp;", "back\\slash", "tab\there", "new\nline", "é", "e\u0301", "日本語", "😀/😀",
        "~tilde", "(parens)", "star*", "a=b", "a:b", "a@b", "[x]", "{x}", "|", "^", "`", "\x7f",
        "x" * 1024,
    ]
    for key in odd:
        s3.put_object(Bucket=bucket, Key=key, Body=key.encode())
    for key in odd:
        equal(body(s3, bucket, key), key.encode(), repr(key))
    listed = []
    for page in s3.get_paginator("list_objects_v2").paginate(
        Bucket=bucket, PaginationConfig={"PageSize": 7}
    ):
        listed += keys(page)
    equal(listed, sorted(odd, key=str.encode))
    for key in odd:
        s3.delete_object(Bucket=bucket, Key=key)
    equal(s3.list_objects_v2(Bucket=bucket)["KeyCount"], 0)


@check
def too_long_a_key(s3, bucket):
    refused("KeyTooLongError", 400, s3.put_object, Bucket=bucket, Key="x" * 1025, Body=b"")
    refused("KeyTooLongError", 400, s3.put_object, Bucket=bucket, Key="é" * 513, Body=b"")


# Reads


@check
def ranges(s3, bucket):
    for size in (1000, 100_000, 9 * MIB):
        payload = data(size)
        s3.put_object(Bucket=bucket, Key="k", Body=payload)
        cases = [
            ("bytes=0-0", 0, 1),
            ("bytes=0-99", 0, 100),
            ("bytes=100-", 100, size),
            (f"bytes={size - 1}-", size - 1, size),
            ("bytes=-1", size - 1, size),
            ("bytes=-100", size - 100, size),
            (f"bytes=-{size * 2}", 0, size),
            (f"bytes=500-{size * 2}", 500, size),
            (f"bytes={size // 2}-{size // 2 + 300}", size // 2, size // 2 + 301),
        ]
        for header, first, end in cases:
            got = s3.get_object(Bucket=bucket, Key="k", Range=header)
            equal(got["ResponseMetadata"]["HTTPStatusCode"], 206, header)
            equal(got["ContentRange"], f"bytes {first}-{end - 1}/{size}", header)
            equal(got["Body"].read(), payload[first:end], f"{size} {header}")
        for header in (f"bytes={size}-", f"bytes={size}-{size + 5}", "bytes=-0"):
            refused("InvalidRange", 416, s3.get_object, Bucket=bucket, Key="k", Range=header)
        # What is no range is ignored.
        equal(len(body(s3, bucket, "k", Range="bytes=9-5")), size)
        equal(len(body(s3, bucket, "k", Range="lines=1-2")), size)
        head = s3.head_object(Bucket=bucket, Key="k", Range="bytes=10-19")
        equal(head["ContentLength"], 10)
    s3.put_object(Bucket=bucket, Key="empty", Body=b"")
    refused("InvalidRange", 416, s3.get_object, Bucket=bucket, Key="empty", Range="bytes=0-")


@check
def read_conditions(s3, bucket):
    etag = s3.put_object(Bucket=bucket, Key="k", Body=b"x")["ETag"]
    modified = s3.head_object(Bucket=bucket, Key="k")["LastModified"]
    day = datetime.timedelta(days=1)
    where = {"Bucket": bucket, "Key": "k"}
    for good in (
        {"IfMatch": etag},
        {"IfMatch": "*"},
        {"IfMatch": f'"nothing", {etag}'},
        {"IfNoneMatch": '"nothing"'},
        {"IfModifiedSince": modified - day},
        {"IfUnmodifiedSince": modified},
        {"IfMatch": etag, "IfUnmodifiedSince": modified - day},
        {"IfNoneMatch": '"nothing"', "IfModifiedSince": modified},
    ):
        equal(s3.get_object(**where, **good)["Body"].read(), b"x", str(good))
        s3.head_object(**where, **good)
    for same in (
        {"IfNoneMatch": etag},
        {"IfNoneMatch": "*"},
        {"IfModifiedSince": modified},
        {"IfNoneMatch": etag, "IfModifiedSince": modified - day},
    ):
        refused("304", 304, s3.get_object, **where, **same)
        refused("304", 304, s3.head_object, **where, **same)
    for failed in ({"IfMatch": '"nothing"'}, {"IfUnmodifiedSince": modified - day}):
        refused("PreconditionFailed", 412, s3.get_object, **where, **failed)
        refused("412", 412, s3.head_object, **where, **failed)


# Conditional writes


@check
def write_conditions(s3, bucket):
    put = lambda **more: s3.put_object(Bucket=bucket, Key="k", **more)
    refused(("NoSuchKey", "PreconditionFailed"), 404, put, Body=b"0", IfMatch='"nothing"')
    first = put(Body=b"1", IfNoneMatch="*")["ETag"]
    refused("PreconditionFailed", 412, put, Body=b"2", IfNoneMatch="*")
    refused("PreconditionFailed", 412, put, Body=b"2", IfMatch='"nothing"')
    equal(body(s3, bucket, "k"), b"1")
    put(Body=b"3", IfMatch=first)
    refused("PreconditionFailed", 412, put, Body=b"4", IfMatch=first)
    equal(body(s3, bucket, "k"), b"3")
    s3.delete_object(Bucket=bucket, Key="k")
    put(Body=b"5", IfNoneMatch="*")


@check
def of_many_writers_one_wins(s3, bucket):
    for turn, size in enumerate((10, 10, 200_000)):
        def write(number):
            try:
                payload = bytes([number]) * size
                s3.put_object(Bucket=bucket, Key=f"k{turn}", Body=payload, IfNoneMatch="*")
                return number
            except botocore.exceptions.ClientError as error:
                code = error.response["Error"]["Code"]
                assert code in ("PreconditionFailed", "ConditionalRequestConflict"), code
                return None

        with concurrent.futures.ThreadPoolExecutor(32) as pool:
            winners = [number for number in pool.map(write, range(32)) if number is not None]
        equal(len(winners), 1, "winners")
        equal(body(s3, bucket, f"k{turn}"), bytes(winners) * size)


# Multipart


def upload(s3, bucket, key, parts, create=None, part=None, complete=None):
    made = s3.create_multipart_upload(Bucket=bucket, Key=key, **(create or {}))
    where = {"Bucket": bucket, "Key": key, "UploadId": made["UploadId"]}
    listed = []
    for number, payload in parts:
        more = part(payload) if part else {}
        answer = s3.upload_part(**where, PartNumber=number, Body=payload, **more)
        sums = {name: value for name, value in answer.items() if name.startswith("Checksum")}
        listed.append({"PartNumber": number, "ETag": answer["ETag"], **sums})
    arguments = {"MultipartUpload": {"Parts": listed}, **(complete or {})}
    return s3.complete_multipart_upload(**where, **arguments), where, listed


@check
def multipart(s3, bucket):
    parts = [(1, data(5 * MIB, 1)), (2, data(5 * MIB + 3, 2)), (7, data(1234, 3))]
    done, where, listed = upload(
        s3, bucket, "m", parts, create={"Metadata": {"a": "b"}, "ContentType": "text/x"}
    )
    digest = hashlib.md5(b"".join(hashlib.md5(part).digest() for _, part in parts))
    etag = f'"{digest.hexdigest()}-3"'
    equal(done["ETag"], etag)
    whole = b"".join(part for _, part in parts)
    got = s3.get_object(Bucket=bucket, Key="m")
    equal((got["ETag"], got["Metadata"], got["ContentType"]), (etag, {"a": "b"}, "text/x"))
    assert got["Body"].read() == whole, "the body differs"
    equal(body(s3, bucket, "m", Range=f"bytes={5 * MIB - 10}-{5 * MIB + 9}"), whole[5 * MIB - 10 : 5 * MIB + 10])
    second = s3.get_object(Bucket=bucket, Key="m", PartNumber=2)
    equal(second["PartsCount"], 3)
    assert second["Body"].read() == parts[1][1], "part 2 differs"
    equal(s3.head_object(Bucket=bucket, Key="m", PartNumber=1)["ContentLength"], 5 * MIB)
    again = s3.complete_multipart_upload(**where, MultipartUpload={"Parts": listed})
    equal(again["ETag"], etag, "completed again")
    equal(keys(s3.list_objects_v2(Bucket=bucket)), ["m"])


@check
def multipart_mistakes(s3, bucket):
    made = s3.create_multipart_upload(Bucket=bucket, Key="m")
    where = {"Bucket": bucket, "Key": "m", "UploadId": made["UploadId"]}
    tags = {}
    for number, size in ((1, 100), (2, 5 * MIB), (3, 10)):
        tags[number] = s3.upload_part(**where, PartNumber=number, Body=data(size))["ETag"]
    complete = lambda parts: {
        **where,
        "MultipartUpload": {"Parts": [{"PartNumber": n, "ETag": tag} for n, tag in parts]},
    }
    finish = s3.complete_multipart_upload
    refused("EntityTooSmall", 400, finish, **complete([(1, tags[1]), (2, tags[2])]))
    refused("InvalidPartOrder", 400, finish, **complete([(3, tags[3]), (2, tags[2])]))
    refused("InvalidPart", 400, finish, **complete([(2, tags[1])]))
    refused("InvalidPart", 400, finish, **complete([(4, tags[1])]))
    refused(("MalformedXML", "InvalidRequest"), 400, finish, **complete([]))
    for number in (0, 10_001):
        refused("InvalidArgument", 400, s3.upload_part, **where, PartNumber=number, Body=b"")
    other = {**where, "Key": "other"}
    refused("NoSuchUpload", 404, s3.upload_part, **other, PartNumber=1, Body=b"")
    refused("404", 404, s3.head_object, Bucket=bucket, Key="m")
    finish(**complete([(2, tags[2]), (3, tags[3])]))
    equal(len(body(s3, bucket, "m")), 5 * MIB + 10)


@check
def multipart_lists_and_abort(s3, bucket):
    uploads = {}
    for key in ("a/1", "a/2", "b", "c/d/e"):
        uploads[key] = s3.create_multipart_upload(Bucket=bucket, Key=key)["UploadId"]
    page = s3.list_multipart_uploads(Bucket=bucket)
    equal([(one["Key"], one["UploadId"]) for one in page["Uploads"]], sorted(uploads.items()))
    page = s3.list_multipart_uploads(Bucket=bucket, Prefix="a/")
    equal([one["Key"] for one in page["Uploads"]], ["a/1", "a/2"])
    page = s3.list_multipart_uploads(Bucket=bucket, Delimiter="/")
    equal(([one["Key"] for one in page["Uploads"]], prefixes(page)), (["b"], ["a/", "c/"]))
    seen, marker = [], {}
    while True:
        page = s3.list_multipart_uploads(Bucket=bucket, MaxUploads=1, **marker)
        seen += [one["Key"] for one in page.get("Uploads", [])]
        if not page["IsTruncated"]:
            break
        marker = {"KeyMarker": page["NextKeyMarker"], "UploadIdMarker": page["NextUploadIdMarker"]}
    equal(seen, sorted(uploads))
    where = {"Bucket": bucket, "Key": "b", "UploadId": uploads["b"]}
    for number in (3, 1, 2, 9):
        s3.upload_part(**where, PartNumber=number, Body=bytes(number))
    s3.upload_part(**where, PartNumber=2, Body=b"again")
    pages = s3.get_paginator("list_parts").paginate(**where, PaginationConfig={"PageSize": 2})
    sizes = [(one["PartNumber"], one["Size"]) for page in pages for one in page.get("Parts", [])]
    equal(sizes, [(1, 1), (2, 5), (3, 3), (9, 9)])
    for key, upload_id in uploads.items():
        s3.abort_multipart_upload(Bucket=bucket, Key=key, UploadId=upload_id)
    refused("NoSuchUpload", 404, s3.list_parts, **where)
    refused("NoSuchUpload", 404, s3.upload_part, **where, PartNumber=1, Body=b"")
    assert "Uploads" not in s3.list_multipart_uploads(Bucket=bucket)


@check
def multipart_conditions(s3, bucket):
    upload(s3, bucket, "m", [(1, b"one")], complete={"IfNoneMatch": "*"})
    made = s3.create_multipart_upload(Bucket=bucket, Key="m")
    where = {"Bucket": bucket, "Key": "m", "UploadId": made["UploadId"]}
    tag = s3.upload_part(**where, PartNumber=1, Body=b"two")["ETag"]
    parts = {"MultipartUpload": {"Parts": [{"PartNumber": 1, "ETag": tag}]}}
    refused("PreconditionFailed", 412, s3.complete_multipart_upload, **where, **parts, IfNoneMatch="*")
    equal(body(s3, bucket, "m"), b"one")
    now = s3.head_object(Bucket=bucket, Key="m")["ETag"]
    s3.complete_multipart_upload(**where, **parts, IfMatch=now)
    equal(body(s3, bucket, "m"), b"two")


@check
def part_copy(s3, bucket):
    payload = data(12 * MIB)
    s3.put_object(Bucket=bucket, Key="source", Body=payload)
    made = s3.create_multipart_upload(Bucket=bucket, Key="m")
    where = {"Bucket": bucket, "Key": "m", "UploadId": made["UploadId"]}
    source = {"CopySource": {"Bucket": bucket, "Key": "source"}}
    first = s3.upload_part_copy(**where, **source, PartNumber=1, CopySourceRange=f"bytes=10-{6 * MIB}")
    second = s3.upload_part_copy(**where, **source, PartNumber=2)
    parts = [
        {"PartNumber": 1, "ETag": first["CopyPartResult"]["ETag"]},
        {"PartNumber": 2, "ETag": second["CopyPartResult"]["ETag"]},
    ]
    refused(
        ("InvalidRange", "InvalidArgument"), 400, s3.upload_part_copy,
        **where, **source, PartNumber=3, CopySourceRange=f"bytes=0-{13 * MIB}",
    )
    s3.complete_multipart_upload(**where, MultipartUpload={"Parts": parts})
    assert body(s3, bucket, "m") == payload[10 : 6 * MIB + 1] + payload, "the body differs"


@check
def transfer_manager(s3, bucket):
    payload = data(33 * MIB)
    settings = boto3.s3.transfer.TransferConfig(
        multipart_threshold=8 * MIB, multipart_chunksize=8 * MIB, max_concurrency=8
    )
    s3.upload_fileobj(io.BytesIO(payload), bucket, "t", Config=settings)
    assert s3.head_object(Bucket=bucket, Key="t")["ETag"].endswith('-5"')
    found = io.BytesIO()
    s3.download_fileobj(bucket, "t", found, Config=settings)
    assert found.getvalue() == payload, "the body differs"
    s3.copy({"Bucket": bucket, "Key": "t"}, bucket, "t2", Config=settings)
    assert body(s3, bucket, "t2") == payload, "the copy differs"


# Copies


@check
def copies(s3, bucket):
    other = bucket + "-other"
    s3.create_bucket(Bucket=other)
    for size in (0, 1000, 100_000, 9 * MIB):
        payload = data(size)
        put = s3.put_object(
            Bucket=bucket, Key="sour ce/é+%", Body=payload, Metadata={"a": "1"}, ContentType="text/x"
        )
        source = {"CopySource": {"Bucket": bucket, "Key": "sour ce/é+%"}}
        copied = s3.copy_object(Bucket=other, Key="copy", **source)["CopyObjectResult"]
        equal(copied["ETag"], put["ETag"])
        got = s3.get_object(Bucket=other, Key="copy")
        equal((got["Metadata"], got["ContentType"]), ({"a": "1"}, "text/x"))
        assert got["Body"].read() == payload, f"the copy of {size} differs"
    s3.copy_object(
        Bucket=bucket, Key="replaced", **source, MetadataDirective="REPLACE", Metadata={"b": "2"},
        ContentType="text/y",
    )
    got = s3.head_object(Bucket=bucket, Key="replaced")
    equal((got["Metadata"], got["ContentType"]), ({"b": "2"}, "text/y"))
    same = {"Bucket": bucket, "Key": "sour ce/é+%"}
    refused("InvalidRequest", 400, s3.copy_object, **same, CopySource=same)
    s3.copy_object(**same, CopySource=same, MetadataDirective="REPLACE", Metadata={"c": "3"})
    equal(s3.head_object(**same)["Metadata"], {"c": "3"})
    assert body(s3, **{"bucket": bucket, "key": same["Key"]}) == payload
    missing = {"Bucket": bucket, "Key": "missing"}
    refused("NoSuchKey", 404, s3.copy_object, Bucket=bucket, Key="x", CopySource=missing)
    nowhere = {"Bucket": bucket + "-nowhere", "Key": "k"}
    refused("NoSuchBucket", 404, s3.copy_object, Bucket=bucket, Key="x", CopySource=nowhere)
    for good in ({"CopySourceIfMatch": got["ETag"]}, {"CopySourceIfNoneMatch": '"x"'}):
        s3.copy_object(Bucket=bucket, Key="y", CopySource={"Bucket": bucket, "Key": "replaced"}, **good)
    for bad in ({"CopySourceIfMatch": '"x"'}, {"CopySourceIfNoneMatch": got["ETag"]}):
        refused(
            "PreconditionFailed", 412, s3.copy_object, Bucket=bucket, Key="z",
            CopySource={"Bucket": bucket, "Key": "replaced"}, **bad,
        )
    refused("404", 404, s3.head_object, Bucket=bucket, Key="z")


# Lists


@check
def list_v2(s3, bucket):
    names = ["a", "a/1", "a/2", "a/b/3", "b", "b/", "b/x", "c--d--e", "c--f", "é", "😀"]
    for name in names:
        s3.put_object(Bucket=bucket, Key=name, Body=name.encode())
    ask = lambda **more: s3.list_objects_v2(Bucket=bucket, **more)
    page = ask()
    equal(keys(page), names)
    equal((page["KeyCount"], page["IsTruncated"], page["MaxKeys"]), (11, False, 1000))
    entry = page["Contents"][1]
    equal((entry["Size"], entry["StorageClass"]), (3, "STANDARD"))
    equal(entry["ETag"], f'"{hashlib.md5(b"a/1").hexdigest()}"')
    assert "Owner" not in entry and "Owner" in ask(FetchOwner=True)["Contents"][0]
    equal(keys(ask(Prefix="a/")), ["a/1", "a/2", "a/b/3"])
    equal(keys(ask(Prefix="nothing")), [])
    page = ask(Delimiter="/")
    equal((keys(page), prefixes(page)), (["a", "b", "c--d--e", "c--f", "é", "😀"], ["a/", "b/"]))
    equal(page["KeyCount"], 8)
    page = ask(Delimiter="/", Prefix="a/")
    equal((keys(page), prefixes(page)), (["a/1", "a/2"], ["a/b/"]))
    page = ask(Delimiter="--")
    equal(prefixes(page), ["c--"])
    page = ask(Delimiter="/", Prefix="b/")
    equal((keys(page), prefixes(page)), (["b/", "b/x"], []))
    equal(keys(ask(StartAfter="a/2")), names[3:])
    equal(keys(ask(StartAfter="b/", Prefix="b/")), ["b/x"])
    page = ask(MaxKeys=0)
    equal((keys(page), page["IsTruncated"]), ([], False))
    for size in (1, 2, 3, 5):
        seen, groups, more = [], [], {}
        while True:
            page = ask(MaxKeys=size, Delimiter="/", **more)
            assert len(keys(page)) + len(prefixes(page)) <= size
            seen += keys(page)
            groups += prefixes(page)
            if not page["IsTruncated"]:
                break
            more = {"ContinuationToken": page["NextContinuationToken"]}
        equal((seen, groups), (["a", "b", "c--d--e", "c--f", "é", "😀"], ["a/", "b/"]), f"by {size}")
    refused("InvalidArgument", 400, ask, ContinuationToken="not ours")
    refused("NoSuchBucket", 404, s3.list_objects_v2, Bucket=bucket + "-no")


@check
def list_v1(s3, bucket):
    names = ["a", "a/1", "a/2", "b", "c/1", "d"]
    for name in names:
        s3.put_object(Bucket=bucket, Key=name, Body=b"")
    ask = lambda **more: s3.list_objects(Bucket=bucket, **more)
    page = ask()
    equal(keys(page), names)
    assert "Owner" in page["Contents"][0]
    equal(keys(ask(Marker="a/1")), names[2:])
    page = ask(Delimiter="/", MaxKeys=2)
    equal((keys(page), prefixes(page), page["NextMarker"]), (["a"], ["a/"], "a/"))
    page = ask(Delimiter="/", MaxKeys=2, Marker=page["NextMarker"])
    equal((keys(page), prefixes(page), page["IsTruncated"]), (["b"], ["c/"], True))
    page = ask(Delimiter="/", MaxKeys=2, Marker=page["NextMarker"])
    equal((keys(page), prefixes(page), page["IsTruncated"]), (["d"], [], False))


@check
def list_encoding(s3, bucket):
    names = ["a&<b", "new\nline", "plus+ space", "\x01\x02", "é/x"]
    for name in names:
        s3.put_object(Bucket=bucket, Key=name, Body=b"")
    # boto3 asks for encoding-type=url by itself and decodes; what it sees must be what was put.
    equal(keys(s3.list_objects_v2(Bucket=bucket)), sorted(names))
    equal(keys(s3.list_objects(Bucket=bucket)), sorted(names))
    equal(prefixes(s3.list_objects_v2(Bucket=bucket, Delimiter="/")), ["é/"])
    url = s3.generate_presigned_url("list_objects_v2", {"Bucket": bucket, "EncodingType": "url"})
    text = fetch(url)[1].decode()
    assert "<EncodingType>url</EncodingType>" in text, text
    assert "%01%02" in text and "new%0Aline" in text and "%C3%A9/x" in text, text


@check
def list_many(s3, bucket):
    names = sorted(f"{number * 7919 % 2500:05}/{number}" for number in range(2500))
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda name: s3.put_object(Bucket=bucket, Key=name, Body=b""), names))
    pages = list(s3.get_paginator("list_objects_v2").paginate(Bucket=bucket))
    equal([len(keys(page)) for page in pages], [1000, 1000, 500])
    equal([key for page in pages for key in keys(page)], names)
    page = s3.list_objects_v2(Bucket=bucket, MaxKeys=5000)
    equal(len(keys(page)), 1000, "at most 1000")
    for first in range(0, 2500, 1000):
        batch = [{"Key": name} for name in names[first : first + 1000]]
        answer = s3.delete_objects(Bucket=bucket, Delete={"Objects": batch})
        equal(len(answer["Deleted"]), len(batch))
        assert "Errors" not in answer
    equal(s3.list_objects_v2(Bucket=bucket)["KeyCount"], 0)


@check
def delete_many(s3, bucket):
    for name in ("a", "b", "c & <d>", "e"):
        s3.put_object(Bucket=bucket, Key=name, Body=b"")
    gone = [{"Key": name} for name in ("a", "missing", "c & <d>")]
    answer = s3.delete_objects(Bucket=bucket, Delete={"Objects": gone})
    equal([one["Key"] for one in answer["Deleted"]], ["a", "missing", "c & <d>"])
    answer = s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "b"}], "Quiet": True})
    assert "Deleted" not in answer and "Errors" not in answer
    equal(keys(s3.list_objects_v2(Bucket=bucket)), ["e"])
    many = [{"Key": str(number)} for number in range(1001)]
    refused("MalformedXML", 400, s3.delete_objects, Bucket=bucket, Delete={"Objects": many})


# Integrity


def crc_table(polynomial, width):
    table = []
    for byte in range(256):
        value = byte
        for _ in range(8):
            value = (value >> 1) ^ (polynomial if value & 1 else 0)
        table.append(value)
    return table, (1 << width) - 1


CRC32C = crc_table(0x82F63B78, 32)
CRC64NVME = crc_table(0x9A6C9329AC4BC9B5, 64)


def crc(payload, kind):
    table, value = kind
    mask = value
    for byte in payload:
        value = table[(value ^ byte) & 0xFF] ^ (value >> 8)
    return value ^ mask


ALGORITHMS = {
    "CRC32": lambda payload: zlib.crc32(payload).to_bytes(4, "big"),
    "CRC32C": lambda payload: crc(payload, CRC32C).to_bytes(4, "big"),
    "CRC64NVME": lambda payload: crc(payload, CRC64NVME).to_bytes(8, "big"),
    "SHA1": lambda payload: hashlib.sha1(payload).digest(),
    "SHA256": lambda payload: hashlib.sha256(payload).digest(),
}


def checksum(algorithm, payload):
    return base64.b64encode(ALGORITHMS[algorithm](payload)).decode()


@check
def checksums(s3, bucket):
    for size in (0, 9, 70_000):
        payload = data(size)
        for algorithm in ALGORITHMS:
            name, value = f"Checksum{algorithm}", checksum(algorithm, payload)
            put = s3.put_object(Bucket=bucket, Key=algorithm, Body=payload, **{name: value})
            equal(put[name], value, algorithm)
            got = s3.get_object(Bucket=bucket, Key=algorithm, ChecksumMode="ENABLED")
            equal(got[name], value, algorithm)
            equal(got["ChecksumType"], "FULL_OBJECT")
            equal(got["Body"].read(), payload)
            head = s3.head_object(Bucket=bucket, Key=algorithm, ChecksumMode="ENABLED")
            equal(head[name], value, algorithm)
            assert name not in s3.head_object(Bucket=bucket, Key=algorithm)
            wrong = {name: checksum(algorithm, payload + b"!")}
            refused("BadDigest", 400, s3.put_object, Bucket=bucket, Key="w", Body=payload, **wrong)
            malformed = {name: "AAAA"}
            refused("InvalidRequest", 400, s3.put_object, Bucket=bucket, Key="w", Body=payload, **malformed)
    refused("404", 404, s3.head_object, Bucket=bucket, Key="w")


@check
def content_md5(s3, bucket):
    digest = lambda payload: base64.b64encode(hashlib.md5(payload).digest()).decode()
    put = lambda md5: s3.put_object(Bucket=bucket, Key="k", Body=b"body", ContentMD5=md5)
    put(digest(b"body"))
    refused("BadDigest", 400, put, md5=digest(b"other"))
    refused("InvalidDigest", 400, put, md5="not base64")


@check
def multipart_checksums(s3, bucket):
    parts = [(1, data(5 * MIB, 1)), (2, data(9999, 2))]
    whole = parts[0][1] + parts[1][1]
    kinds = [(name, "COMPOSITE") for name in ("CRC32", "SHA1", "SHA256")]
    for algorithm, kind in [*kinds, ("CRC32", "FULL_OBJECT")]:
        done, _, _ = upload(
            s3, bucket, "m", parts,
            create={"ChecksumAlgorithm": algorithm, "ChecksumType": kind},
            part=lambda _: {"ChecksumAlgorithm": algorithm},
        )
        if kind == "FULL_OBJECT":
            value = checksum(algorithm, whole)
        else:
            joined = b"".join(ALGORITHMS[algorithm](part) for _, part in parts)
            value = f"{checksum(algorithm, joined)}-2"
        equal(done[f"Checksum{algorithm}"], value, f"{algorithm} {kind}")
        equal(done["ChecksumType"], kind)
        head = s3.head_object(Bucket=bucket, Key="m", ChecksumMode="ENABLED")
        equal(head[f"Checksum{algorithm}"], value, f"{algorithm} {kind}")
    made = s3.create_multipart_upload(Bucket=bucket, Key="m", ChecksumAlgorithm="SHA256")
    where = {"Bucket": bucket, "Key": "m", "UploadId": made["UploadId"], "PartNumber": 1}
    wrong = checksum("SHA256", b"other")
    refused("BadDigest", 400, s3.upload_part, **where, Body=b"body", ChecksumSHA256=wrong)


@check
def full_object_checksum_of_parts(s3, bucket):
    parts = [(1, data(5 * MIB, 1)), (2, data(100, 2))]
    value = checksum("CRC64NVME", parts[0][1] + parts[1][1])
    create = {"ChecksumAlgorithm": "CRC64NVME"}
    sums = {payload: checksum("CRC64NVME", payload) for _, payload in parts}
    part = lambda payload: {"ChecksumCRC64NVME": sums[payload]}
    done, _, _ = upload(s3, bucket, "m", parts, create, part)
    equal((done["ChecksumCRC64NVME"], done["ChecksumType"]), (value, "FULL_OBJECT"))
    wrong = {"ChecksumCRC64NVME": checksum("CRC64NVME", b"other"), "ChecksumType": "FULL_OBJECT"}
    refused(
        "BadDigest", 400, lambda: upload(s3, bucket, "n", parts, create, part, complete=wrong)
    )
    refused("404", 404, s3.head_object, Bucket=bucket, Key="n")


@check
def payload_signing_modes(s3, bucket):
    payload = data(100_000)
    modes = [
        client(s3={"payload_signing_enabled": True}),
        client(s3={"payload_signing_enabled": False}),
        client(config={"request_checksum_calculation": "when_required"}),
        client(s3={"use_accelerate_endpoint": False}, signature_version="s3v4"),
    ]
    for number, mode in enumerate(modes):
        mode.put_object(Bucket=bucket, Key=str(number), Body=payload)
        mode.put_object(Bucket=bucket, Key=f"{number}s", Body=io.BytesIO(payload))
        equal(body(s3, bucket, str(number)), payload)
        equal(body(s3, bucket, f"{number}s"), payload)


@check
def a_wrong_payload_hash(s3, bucket):
    spoiled = client(s3={"payload_signing_enabled": True})
    honest = botocore.auth.S3SigV4Auth.payload
    wrong = lambda *_: hashlib.sha256(b"other").hexdigest()
    botocore.auth.S3SigV4Auth.payload = wrong
    try:
        refused(
            "XAmzContentSHA256Mismatch", 400, spoiled.put_object, Bucket=bucket, Key="k", Body=b"x"
        )
    finally:
        botocore.auth.S3SigV4Auth.payload = honest
    refused("404", 404, s3.head_object, Bucket=bucket, Key="k")


# Authentication


@check
def presigned(s3, bucket):
    key = "a b/é+&=%"
    sign = lambda name, seconds=60, **more: s3.generate_presigned_url(
        name, {"Bucket": bucket, "Key": key, **more}, ExpiresIn=seconds
    )
    equal(fetch(sign("put_object"), "PUT", b"hello")[0], 200)
    status, payload, _ = fetch(sign("get_object"))
    equal((status, payload), (200, b"hello"))
    equal(fetch(sign("get_object"), headers={"Range": "bytes=1-2"})[:2], (206, b"el"))
    _, _, headers = fetch(sign("get_object", ResponseContentDisposition='attachment; filename="x"'))
    equal(headers["Content-Disposition"], 'attachment; filename="x"')
    equal(fetch(sign("head_object"), "HEAD")[0], 200)
    equal(fetch(sign("get_object"), "DELETE")[0], 403)
    equal(fetch(sign("get_object") + "&extra=1")[0], 403)
    url = sign("get_object").replace("X-Amz-Expires=60", "X-Amz-Expires=61")
    status, payload, _ = fetch(url)
    assert status == 403 and b"<Code>SignatureDoesNotMatch</Code>" in payload, payload
    url = sign("get_object", 1)
    time.sleep(2.1)
    status, payload, _ = fetch(url)
    assert status == 403 and b"<Code>AccessDenied</Code>" in payload, payload
    equal(fetch(sign("delete_object"), "DELETE")[0], 204)


@check
def presigned_part(s3, bucket):
    made = s3.create_multipart_upload(Bucket=bucket, Key="m")
    where = {"Bucket": bucket, "Key": "m", "UploadId": made["UploadId"]}
    url = s3.generate_presigned_url("upload_part", {**where, "PartNumber": 1})
    status, _, headers = fetch(url, "PUT", b"part")
    equal(status, 200)
    parts = [{"PartNumber": 1, "ETag": headers["ETag"]}]
    s3.complete_multipart_upload(**where, MultipartUpload={"Parts": parts})
    equal(body(s3, bucket, "m"), b"part")


@check
def strangers_are_refused(s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    key_id = os.environ["AWS_ACCESS_KEY_ID"]
    wrong = client(aws_access_key_id=key_id, aws_secret_access_key="not-the-secret")
    refused("SignatureDoesNotMatch", 403, wrong.get_object, Bucket=bucket, Key="k")
    refused("SignatureDoesNotMatch", 403, wrong.put_object, Bucket=bucket, Key="k", Body=b"y")
    unknown = client(aws_access_key_id="NOBODY", aws_secret_access_key="not-the-secret")
    refused("InvalidAccessKeyId", 403, unknown.list_buckets)
    # The right region is named, so that a client may come back with it; boto3 would do so unseen.
    keys = botocore.credentials.Credentials(key_id, os.environ["AWS_SECRET_ACCESS_KEY"])
    request = botocore.awsrequest.AWSRequest("GET", f"{ENDPOINT}/{bucket}")
    botocore.auth.S3SigV4Auth(keys, "s3", "eu-west-9").add_auth(request)
    status, payload, _ = fetch(request.url, headers=dict(request.headers))
    assert status == 400 and b"<Code>AuthorizationHeaderMalformed</Code>" in payload, payload
    assert f"<Region>{REGION}</Region>".encode() in payload, payload
    equal(fetch(f"{ENDPOINT}/{bucket}/k")[0], 403)
    equal(body(s3, bucket, "k"), b"x")


# Errors


@check
def errors_have_their_parts(s3, bucket):
    answer = refused("NoSuchKey", 404, s3.get_object, Bucket=bucket, Key="missing")
    equal(answer["Error"]["Key"], "missing")
    assert answer["Error"]["Message"] and answer["ResponseMetadata"]["RequestId"]
    assert answer["ResponseMetadata"]["HostId"]
    answer = refused("NoSuchBucket", 404, s3.get_object, Bucket=bucket + "-no", Key="k")
    equal(answer["Error"]["BucketName"], bucket + "-no")
    for operation, more in (
        (s3.put_object, {"Key": "k", "Body": b""}),
        (s3.list_objects, {}),
        (s3.create_multipart_upload, {"Key": "k"}),
        (s3.delete_object, {"Key": "k"}),
    ):
        refused("NoSuchBucket", 404, operation, Bucket=bucket + "-no", **more)


@check
def what_is_not_there_is_refused_and_changes_nothing(s3, bucket):
    where = {"Bucket": bucket}
    refused("NotImplemented", 501, s3.put_bucket_website, **where, WebsiteConfiguration={"IndexDocument": {"Suffix": "i"}})
    refused("NotImplemented", 501, s3.put_object, **where, Key="k", Body=b"x", Tagging="a=b")
    refused("NotImplemented", 501, s3.put_object, **where, Key="k", Body=b"x", ServerSideEncryption="aws:kms")
    refused("NotImplemented", 501, s3.put_object, **where, Key="k", Body=b"x", ACL="public-read")
    refused("404", 404, s3.head_object, **where, Key="k")


@check
def harmless_headers_are_accepted(s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"x", ACL="private", StorageClass="STANDARD", RequestPayer="requester")
    s3.put_object(Bucket=bucket, Key="k", Body=b"x", ACL="bucket-owner-full-control")


def run(function):
    s3 = client()
    bucket = f"check-{uuid.uuid4().hex[:12]}"
    try:
        s3.create_bucket(Bucket=bucket)
        function(s3, bucket)
    except Exception as error:  # a check may fail in any way; all of them are reported
        place = traceback.extract_tb(error.__traceback__)
        line = next((f.lineno for f in reversed(place) if f.filename == __file__ and f.name not in ("equal", "refused")), 0)
        text = " ".join(str(error).split())[:300] or type(error).__name__
        print(f"FAIL {function.__name__}: line {line}: {text}", flush=True)
        return False
    print(f"PASS {function.__name__}", flush=True)
    return True


def main():
    global ENDPOINT
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    ENDPOINT = sys.argv[1]
    wanted = sys.argv[2:]
    chosen = [one for one in CHECKS if not wanted or one.__name__ in wanted]
    sys.exit(0 if all([run(one) for one in chosen]) and chosen else 1)


main()
