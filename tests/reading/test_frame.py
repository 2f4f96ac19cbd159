"""HTML that leads nowhere, and has the mail's own images in it."""

from __future__ import annotations

import base64

import pytest

from django_smtpx.reading import Part, document

PNG = Part(1, "image/png", 0, 30, content_id="logo@x")
SVG = Part(2, "image/svg+xml", 0, 30, content_id="evil@x")
IMAGES = {part.content_id: part for part in (PNG, SVG)}


def shown(html, most=1000, data=b"pixels"):
    """Return the document of some HTML."""
    return document(html, IMAGES, lambda part: data, most)


@pytest.mark.parametrize(
    ("html", "expected"),
    [
        ('<a href="http://x">', '<a title="http://x">'),
        ("<A HREF=x>", "<A title=x>"),
        ("<a/href\t\r\n\f = 'x'>", "<a/title\t\r\n\f = 'x'>"),
        ('<a class="a"href=x>', '<a class="a"title=x>'),
        ('<svg><a xlink:href="x">', '<svg><a xlink:title="x">'),
        ('<a href="#a">', '<a href="#a">'),
        ("<a href=#a>", "<a href=#a>"),
        ('<a href="&#35;a">', '<a title="&#35;a">'),
        ("see the href of it", "see the href of it"),
        ('<a href="#a" ping="x">', '<a href="#a" data-ping="x">'),
        ("shopping=3", "shopping=3"),
        ("<set attributeName = href>", "<set data-attributeName = href>"),
        ('<iframe src="x">', '<x-iframe src="x">'),
        ("<IFRAME\nsrc=x>", "<x-IFRAME\nsrc=x>"),
        ("<iframe/src=x>", "<x-iframe/src=x>"),
        ("<base target=_top>", "<x-base target=_top>"),
        ("<link rel=x>", "<x-link rel=x>"),
        ("<meta http-equiv=refresh>", "<x-meta http-equiv=refresh>"),
        ("<object data=x></object>", "<x-object data=x></object>"),
        ("<frames>", "<frames>"),
        ("<p>Hello</p>", "<p>Hello</p>"),
    ],
)
def test_ways_out(html, expected):
    """Links show where they would lead, and no element is left that a connection is opened for."""
    assert shown(html) == expected


def test_images():
    """An image of the mail is in the document, however it is referred to; others stay away."""
    data = f"data:image/png;base64,{base64.b64encode(b'pixels').decode()}"
    assert shown('<img src="cid:logo@x">') == f'<img src="{data}">'
    assert shown("<img src=CID:logo%40x>") == f"<img src={data}>"
    assert shown('<img src="cid:logo&#64;x">') == f'<img src="{data}">'
    assert shown("<b style='background:url(cid:logo@x)'>") == f"<b style='background:url({data})'>"
    for html in ('<img src="cid:evil@x">', '<img src="cid:none@x">', "cid: x"):
        assert shown(html) == html


def test_images_that_are_too_much():
    """Images are put in while there is room, each time that one is shown."""
    html = '<img src="cid:logo@x">' * 3
    one = len(shown('"cid:logo@x"')) - 2
    assert shown(html, most=one - 1).count("data:") == 0
    assert shown(html, most=one).count("data:") == 1
    assert shown(html, most=2 * one + 1).count("data:") == 2


def test_an_image_is_read_once():
    """An image that is shown often is read once."""
    reads = []
    document('"cid:logo@x"' * 10, IMAGES, lambda part: reads.append(part) or b"x", 10_000)
    assert reads == [PNG]
