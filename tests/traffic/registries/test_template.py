"""What may stand in a hook's address, and what a pod's own words make of it."""

import pytest

from lossless.traffic.registries.errors import Refused
from lossless.traffic.registries.template import UrlTemplate, fill
from tests.traffic.registries.pods import pod


@pytest.mark.parametrize(
    ("template", "filled"),
    [
        ("http://{ip}:8080/offline", "http://10.0.0.1:8080/offline"),
        ("http://{ip}", "http://10.0.0.1/"),
        ("http://{ip}?a=b", "http://10.0.0.1/?a=b"),
        ("http://{node}:8500/", "http://node-1:8500/"),
        ("https://{name}.web.{namespace}.svc/x", "https://web-10-0-0-1.web.shop.svc/x"),
        ("http://gateway.infra/out/{namespace}/{name}?ip={ip}&uid={uid}", None),
        ("http://[fd00::5]:80/{node}", "http://[fd00::5]:80/node-1"),
    ],
)
def test_words_stand_for_the_pods_own(template: str, filled: str | None) -> None:
    expected = filled or "http://gateway.infra/out/shop/web-10-0-0-1?ip=10.0.0.1&uid=uid-web-10-0-0-1"
    assert UrlTemplate(template).fill(pod()) == expected


def test_an_ipv6_address_gets_its_brackets_as_a_host_only() -> None:
    assert UrlTemplate("http://{ip}:80/{ip}").fill(pod("fd00::1")) == "http://[fd00::1]:80/fd00::1"


@pytest.mark.parametrize(
    "template",
    [
        "http://{name}/",  # a pod may be called 169.254.169.254
        "http://{name}.{namespace}/",
        "http://{namespace}.254/",
        "http://{ip}.nip.io/",
        "http://x{ip}/",
        "http://user@{ip}/",
        "http://{ip}@evil.example/",
        "http://{ip}:{uid}/",
        "http://{ip}:80{uid}/",
        "http://{ip}\\@evil.example/",
        "http://{ip}#/",
        "http:///x",
        "http://{secret}/",
        "http://{ip}/{password}",
        "http://{ip}/{0.__class__}",
        "ftp://{ip}/",
    ],
)
def test_a_word_never_decides_where_a_request_goes(template: str) -> None:
    with pytest.raises(Refused):
        UrlTemplate(template)


@pytest.mark.parametrize(
    "host", ["10.0.0.9", "example.com", "169.254.169.254", "{node}", "[fd00::1]", "localhost.evil"]
)
def test_inside_a_pod_a_request_goes_to_the_pod_itself(host: str) -> None:
    with pytest.raises(Refused):
        UrlTemplate(f"http://{host}/", loopback=True)


@pytest.mark.parametrize("host", ["{ip}", "localhost", "127.0.0.1", "127.9.9.9", "[::1]"])
def test_inside_a_pod_its_own_addresses_are_fine(host: str) -> None:
    UrlTemplate(f"http://{host}:1/", loopback=True)


@pytest.mark.parametrize("name", ["a/../b", "a?b", "a@b", "a b", "a#b", "", "%2e", "a\r\nHost: b"])
def test_a_name_that_means_something_in_a_url_is_refused(name: str) -> None:
    with pytest.raises(Refused):
        UrlTemplate("http://gateway.infra/{name}").fill(pod(name=name))


def test_a_pod_without_an_address_has_none_to_put_in() -> None:
    with pytest.raises(Refused, match="no address"):
        UrlTemplate("http://{ip}/").fill(pod("not-an-address"))


def test_other_braces_of_a_body_stay() -> None:
    assert fill('{"ip": "{ip}", "x": {}}', pod()) == '{"ip": "10.0.0.1", "x": {}}'
