"""A signed S3 request, enough to make a bucket and to probe a server. Not for measuring."""

import datetime
import hashlib
import hmac
import http.client
import urllib.parse


class Client:
    """One keep-alive connection."""

    def __init__(self, host, port, access_key, secret_key, region="us-east-1"):
        self.host = f"{host}:{port}"
        self.access_key, self.secret_key, self.region = access_key, secret_key, region
        self.connection = http.client.HTTPConnection(host, port, timeout=30)

    def send(self, method, path, query=None, body=b""):
        """Returns the status and the body of the answer."""
        now = datetime.datetime.now(datetime.timezone.utc)
        stamp, day = now.strftime("%Y%m%dT%H%M%SZ"), now.strftime("%Y%m%d")
        quote = lambda text: urllib.parse.quote(text, safe="-_.~")
        pairs = sorted((quote(name), quote(value)) for name, value in (query or {}).items())
        text = "&".join(f"{name}={value}" for name, value in pairs)
        path = urllib.parse.quote(path, safe="/-_.~")
        hashed = hashlib.sha256(body).hexdigest()
        names = "host;x-amz-content-sha256;x-amz-date"
        canonical = (f"{method}\n{path}\n{text}\nhost:{self.host}\nx-amz-content-sha256:{hashed}\n"
                     f"x-amz-date:{stamp}\n\n{names}\n{hashed}")
        scope = f"{day}/{self.region}/s3/aws4_request"
        to_sign = f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
        key = f"AWS4{self.secret_key}".encode()
        for step in (day, self.region, "s3", "aws4_request"):
            key = hmac.new(key, step.encode(), hashlib.sha256).digest()
        signature = hmac.new(key, to_sign.encode(), hashlib.sha256).hexdigest()
        headers = {
            "Host": self.host, "x-amz-date": stamp, "x-amz-content-sha256": hashed,
            "Authorization": f"AWS4-HMAC-SHA256 Credential={self.access_key}/{scope}, "
                             f"SignedHeaders={names}, Signature={signature}",
        }
        self.connection.request(method, path + ("?" + text if text else ""), body or None, headers)
        answer = self.connection.getresponse()
        return answer.status, answer.read()
