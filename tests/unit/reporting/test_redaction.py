"""Planted secrets and private names never get out; what a reader needs stays."""

import string
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bringup.reporting.redact import GONE, make_redactor
from bringup.system.awskeys import secrets_of

HOME = "/ho" + "me/alice"
ENV = {
    "HOME": HOME,
    "USER": "alice",
    "HOSTNAME": "gpu07.cluster.example.org",
    "MY_SERVICE_PASSWORD": "correct-horse-battery",
    "https_proxy": "http://alice:pr0xy-Passw0rd@proxy.example.org:3128",
}
REDACT = make_redactor(
    ENV,
    host="gpu07.cluster.example.org",
    folders={Path("/data/secret-project/build"): "<build>", Path("/data/secret-project"): "<bringup>"},
)
# Put together here, so that no file of this repository looks as if it held one.
GITHUB = "gh" + "p_" + "a1B2" * 9
HUGGING = "hf" + "_" + "AbCd" * 9
AWS_ID = "AK" + "IA" + "ABCDEFGH12345678"
AWS_SECRET = "wJalrXUtnFEMI/K7MDENG" + "/bPxRfiCYEXAMPLEKEY"
JWT = "eyJ" + "hbGciOiJIUzI1NiJ9." + "eyJ" + "zdWIiOiIxMjM0NTYifQ.abcdefgh12345678"
KEY = "-----BEGIN OPENSSH PRIVATE " + "KEY-----\nb3BlbnNzaC1rZXk\nAAAA\n-----END OPENSSH PRIVATE " + "KEY-----"

PLANTED = [
    (f"remote: https://x-access-token:{GITHUB}@github.com/lab/private", GITHUB),
    (f"HF_TOKEN={HUGGING}", HUGGING),
    (f"login with {HUGGING} failed", HUGGING),
    (f"export AWS_ACCESS_KEY_ID={AWS_ID}", AWS_ID),
    (f"AWS_SECRET_ACCESS_KEY={AWS_SECRET}", AWS_SECRET),
    (f"credentials {AWS_ID} {AWS_SECRET} refused", AWS_SECRET),
    ("Looking in indexes: https://bob:s3cr3t!pw@pkg.example.org/simple", "s3cr3t!pw"),
    ("git clone https://tokenonly@git.example.org/a.git", "tokenonly"),
    ("password with an at: https://bob:p@ss@pkg.example.org/simple", "p@ss"),
    ("https_proxy=http://alice:pr0xy-Passw0rd@proxy.example.org:3128", "pr0xy-Passw0rd"),
    ("tried pr0xy-Passw0rd once more", "pr0xy-Passw0rd"),
    ("connecting with correct-horse-battery", "correct-horse-battery"),
    ("Authorization: Bearer abcdef0123456789abcdef", "abcdef0123456789"),
    ('{"api_key": "k-99887766", "model": "llama"}', "k-99887766"),
    ("--hf-token abc123def456 --model llama", "abc123def456"),
    ("curl -u bob:hunter22 https://example.org", "hunter22"),
    ("machine pkg.example.org login bob password tr0ub4dor", "tr0ub4dor"),
    (f"cookie {JWT}", JWT),
    (KEY, "b3BlbnNzaC1rZXk"),
    (f"aws_session_token = {AWS_SECRET}", AWS_SECRET),
    ("Authorization: AWS4-HMAC-SHA256 Credential=lab:builder/20260101/x/s3/aws4_request, Signature=ab12", "Signature"),
    ("sent AWS4-HMAC-SHA256 Credential=lab:builder/20260101/x/s3/aws4_request", "lab:builder"),
    ("GET https://bucket.example.org/m.bin?X-Amz-Signature=abcd1234&X-Amz-Date=1", "abcd1234"),
    ("mail to alice.smith@lab.example.org", "alice.smith"),
    ("glpat" + "-abcdefghij0123456789", "abcdefghij0123456789"),
    ("OPENAI: sk-" + "proj-abcdefghijklmnopqrstuvwx", "abcdefghijklmnopqrstuvwx"),
    ("nvapi" + "-abcdefghij0123456789", "abcdefghij0123456789"),
    (f'File "{HOME}/x/y.py"', "alice"),
    ("/ho" + "me/bob/models/llama", "bob"),
    ("/Users/carol/models", "carol"),
    ("drwxr-xr-x alice staff", "alice"),
    ("gpu07 kernel: Out of memory", "gpu07"),
    ("on gpu07.cluster.example.org", "cluster.example.org"),
    ("NCCL INFO NET/Socket : Using eth0:192.168.7.21<0>", "192.168.7.21"),
    ("http://10.3.4.5/simple", "10.3.4.5"),
    ("node3.compute.internal refused", "node3.compute"),
    ("/data/secret-project/build/h200/logs/x.log", "secret-project"),
    ("/data/secret-project/recipes", "secret-project"),
    ("GPU-12345678-1234-1234-1234-123456789abc", "12345678-1234"),
]


@pytest.mark.parametrize(("text", "secret"), PLANTED, ids=[secret[:12] for _, secret in PLANTED])
def test_a_planted_secret_is_removed(text, secret):
    assert secret in text
    assert secret not in REDACT(text)
    assert secret not in REDACT(f"before\n[rank0]: {text}\nafter")


def test_all_of_them_in_one_text():
    out = REDACT("\n".join(text for text, _ in PLANTED))
    assert [secret for _, secret in PLANTED if secret in out] == []


@pytest.mark.parametrize(
    "text",
    [
        "/root/flashinfer/vec_dtypes.cuh:24:10: fatal error: cuda_fp8.h: No such file or directory".replace(
            "/root", "~"
        ),
        "nvidia-curand==10.4.0.35",
        "skip_tokenizer_init=True, max_total_num_tokens=20480, token_ids=[1, 2]",
        "undefined symbol: _ZN3c1013MessageLoggerC1EPKciib",
        "git_version = '70d99e998b4955e0049d13a98d77ae1b14db1f45'",
        "The server is fired up at http://127.0.0.1:30000 and 0.0.0.0:30001",
        "https://github.com/sgl-project/sglang/issues/3830",
        "git clone git@github.com:sgl-project/sglang.git",
        "sha256:b18e4121baf9b93fa9a9f368ba9b981a0342895f50ab9dddc224aeb964ed346f",
        "ptxas fatal   : Value 'sm_121a' is not defined for option 'gpu-name'",
        "-I/usr/local/cuda-13.0/include -gencode=arch=compute_90a,code=sm_90a",
    ],
)
def test_what_a_reader_needs_stays(text):
    assert REDACT(text) == text


def test_paths_keep_their_ends():
    assert REDACT(f"{HOME}/x/y.py:3") == "~/x/y.py:3"
    assert REDACT("/data/secret-project/build/h200/logs/x.log") == "<build>/h200/logs/x.log"


def test_nobodys_name_is_not_hidden():
    redact = make_redactor({"HOME": "/", "USER": "build"}, host="localhost", folders={})
    assert redact("the build of localhost failed") == "the build of localhost failed"


def test_keys_of_aws_are_removed_wherever_they_stand(tmp_path):
    """Those of the variables by name; those of the credentials file because they are in it."""
    (tmp_path / ".aws").mkdir()
    text = "[a]\naws_access_key_id = plain-looking\naws_secret_access_key = word/of+file\n"
    (tmp_path / ".aws/credentials").write_text(text)
    env = {"HOME": str(tmp_path), "AWS_ACCESS_KEY_ID": "other-looking", "AWS_SECRET_ACCESS_KEY": "word-of-variable"}
    redact = make_redactor(env, host="localhost", folders={}, secrets=secrets_of(env))
    found = redact("plain-looking, word/of+file; other-looking word-of-variable: refused")
    assert found == f"{GONE}, {GONE}; {GONE} {GONE}: refused"


def test_of_two_secrets_the_longer_goes_first():
    redact = make_redactor({}, host="localhost", folders={}, secrets=["secret", "secret-and-more"])
    assert redact("a secret-and-more") == f"a {GONE}"


ALPHABET = string.ascii_letters + string.digits


@given(
    secret=st.text(ALPHABET, min_size=20, max_size=40),
    form=st.sampled_from(
        ["HF_TOKEN={}", "https://u:{}@example.org/x", "password: '{}'", "Bearer {}", "--api-key={}", '"secret": "{}"']
    ),
    before=st.text(st.characters(exclude_characters=ALPHABET), max_size=40),
)
def test_any_value_in_a_secret_place_is_removed(secret, form, before):
    assert secret not in REDACT(f"{before}\n{form.format(secret)}\n")


@given(st.text(max_size=300))
def test_any_text_can_be_redacted(text):
    assert isinstance(REDACT(text), str)
    assert REDACT(text).count("\n") <= text.count("\n") + GONE.count("\n")
