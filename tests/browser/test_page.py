import json
import re
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

pytest.importorskip("playwright")
from playwright.sync_api import expect

TABS = ["paint", "sketch", "pose", "photo", "gallery", "models"]
SIDEWAYS = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
NAMELESS = """() => {
    const kinds = "button, input, select, textarea, summary, meter, progress, [role=slider]";
    const labels = (one) => [...(one.labels ?? [])].map((label) => label.textContent).join("");
    const pictured = (one) => one.querySelector("img[alt]:not([alt=''])") !== null;
    const named = (one) => (one.getAttribute("aria-label") || labels(one) || one.textContent).trim() || pictured(one);
    return [...document.querySelectorAll(kinds)].filter((one) => one.checkVisibility() && !named(one))
        .map((one) => one.outerHTML.slice(0, 80));
}"""
SMALL = """() => [...document.querySelectorAll(".hm-button, .hm-tab, select, input[type=number], summary")]
    .filter((one) => one.checkVisibility())
    .map((one) => [one.outerHTML.slice(0, 80), one.getBoundingClientRect().height])
    .filter(([, height]) => height > 0 && height < 39.5)"""


def test_every_part_is_there_and_comes_from_this_server_alone_and_a_reload_stays_where_one_was(open_page):
    page = open_page("models")
    for name in TABS:
        page.click(f"#hm-tab-{name}")
        expect(page.locator(f"#hm-panel-{name}")).to_be_visible()
        expect(page.locator(f"#hm-tab-{name}")).to_have_attribute("aria-selected", "true")
        assert page.locator("[role=tabpanel]:visible").count() == 1
    assert page.locator(".hm-toast.error").count() == 0
    assert page.evaluate("Object.keys(hackamore.tabs)") == TABS
    page.click("#hm-tab-gallery")
    page.reload()
    expect(page.locator("#hm-panel-gallery")).to_be_visible()
    page.focus("#hm-tab-gallery")
    page.keyboard.press("ArrowRight")
    expect(page.locator("#hm-tab-models")).to_be_focused()
    expect(page.locator("#hm-panel-models")).to_be_visible()


def test_language_and_light_are_the_system_s_until_someone_chooses(open_page):
    page = open_page("models", locale="ko-KR", color_scheme="dark")
    expect(page.locator("#hm-tab-paint")).to_have_text("그리기")
    assert page.evaluate("document.documentElement.lang") == "ko"
    wait_for_ground(page, "dark")
    page.emulate_media(color_scheme="light")
    wait_for_ground(page, "light")
    page.get_by_role("button", name="어둡게 또는 밝게").click()
    wait_for_ground(page, "dark")
    page.get_by_role("button", name="English").click()
    expect(page.locator("#hm-tab-paint")).to_have_text("Paint")
    assert page.evaluate("document.documentElement.lang") == "en"
    wait_for_ground(page, "dark")


def wait_for_ground(page, look: str) -> None:
    """Wait until the sum of the ground's red, green and blue is that of a ``look``, dark or light."""
    ground = "getComputedStyle(document.body).backgroundColor.match(/\\d+/g).slice(0, 3).map(Number)"
    dark = f"{ground}.reduce((one, other) => one + other) < 200"
    page.wait_for_function(dark if look == "dark" else f"!({dark})")


@pytest.fixture
def sketch(shared_page):
    """The shared page on Sketch, which asks for no picture of its own accord while nothing is drawn."""
    shared_page.evaluate("hackamore.show('sketch')")
    return shared_page


def test_a_chip_writes_its_words_another_replaces_them_and_again_takes_them_away(sketch):
    sketch.fill("#hm-prompt", "hills with a river at noon, clear sky")
    sketch.locator("#hm-prompt").blur()
    for chip, prompt in (
        ("sunset", "hills with a river at sunset, clear sky"),
        ("winter", "hills with a river at sunset, clear sky, winter"),
        ("snowfall", "hills with a river at sunset, winter, falling snow"),
        ("night", "hills with a river at night, winter, falling snow"),
        ("winter", "hills with a river at night, falling snow"),
    ):
        sketch.click(f"[data-chip={chip}]")
        expect(sketch.locator("#hm-prompt")).to_have_value(prompt)
    pressed = sketch.locator(".hm-chip[aria-pressed=true]").all_text_contents()
    assert pressed == ["night", "snowfall"]


def test_whatever_is_operated_has_a_name_and_nothing_moves_for_those_who_asked_for_stillness(open_page):
    page = open_page("models", reduced_motion="reduce")
    for name in TABS:
        page.click(f"#hm-tab-{name}")
        expect(page.locator(f"#hm-panel-{name}")).to_be_visible()
        assert page.evaluate(NAMELESS) == []
        moving = page.evaluate(
            "[...document.querySelectorAll('.hackamore *')].flatMap((one) => ['', '::before'].filter((part) =>"
            " parseFloat(getComputedStyle(one, part).transitionDuration) > 0.01))"
        )
        assert moving == []


def test_a_narrow_screen_needs_no_scrolling_sideways_and_a_finger_hits_what_it_means(open_page):
    page = open_page("models", width=390, height=844, has_touch=True, is_mobile=True)
    for name in TABS:
        page.locator(f"#hm-tab-{name}").tap()
        expect(page.locator(f"#hm-panel-{name}")).to_be_visible()
        assert (name, page.evaluate(SIDEWAYS)) == (name, 0)
        assert (name, page.evaluate(SMALL)) == (name, [])


def test_an_error_stands_in_words_below_the_button_that_caused_it(sketch):
    sketch.evaluate("document.querySelector('#hm-prompt').value = 'a'.repeat(9000)")
    sketch.click("#hm-generate")
    expect(sketch.locator("#hm-run-error")).to_contain_text("8000")
    expect(sketch.locator("#hm-generate")).to_be_enabled()
    sketch.fill("#hm-prompt", "hills")


def test_a_speed_brings_steps_and_a_scheduler_and_goes_with_the_request(sketch):
    sketch.evaluate("hackamore.settings.restore({prompt: 'hills', steps: 20, num: 1, seed: 1})")
    sketch.evaluate("document.querySelector('#hm-speed').closest('details').open = true")
    told = sketch.evaluate("hackamore.settings.request()")
    assert (told["steps"], told.get("fast")) == (20, None)
    sketch.select_option("#hm-speed", "3")
    told = sketch.evaluate("hackamore.settings.request()")
    assert (told["steps"], told["scheduler"], told["fast"]) == (8, "dpm++_2m", 3)
    sketch.click("#hm-generate")
    picture = sketch.get_by_role("button", name="Picture 1", exact=True).first
    expect(picture).to_be_visible()
    sketch.select_option("#hm-speed", "0")
    told = sketch.evaluate("hackamore.settings.request()")
    assert (told["steps"], told["scheduler"], told.get("fast")) == (20, "ddim", None)
    sketch.evaluate("hackamore.settings.restore({prompt: 'hills', steps: 5, fast: 2, num: 1, seed: 1})")
    told = sketch.evaluate("hackamore.settings.request()")
    assert (told["steps"], told["fast"]) == (5, 2)
    sketch.select_option("#hm-speed", "0")
    sketch.evaluate("document.querySelector('#hm-speed').closest('details').open = false")


def test_a_server_that_is_gone_is_told_of_in_words(sketch):
    sketch.context.set_offline(True)
    sketch.click("#hm-generate")
    expect(sketch.locator("#hm-run-error")).to_contain_text("does not answer")
    sketch.context.set_offline(False)


def test_a_server_that_goes_while_a_picture_is_made_is_told_of_and_asked_again(sketch):
    following = re.compile(r"/v1/jobs/\w+(/events)?$")
    sketch.route(following, lambda route: route.abort())
    sketch.evaluate("hackamore.settings.restore({prompt: 'hills', steps: 8, num: 1, seed: 1})")
    sketch.click("#hm-generate")
    expect(sketch.locator(".hm-toast.wait", has_text="does not answer")).to_be_visible()
    sketch.unroute(following)
    expect(sketch.get_by_role("button", name="Picture 1", exact=True)).to_be_visible()


def test_a_full_queue_is_waited_for(sketch):
    answers = []

    def full_once(route):
        if route.request.method == "POST" and not answers:
            answers.append(429)
            body = json.dumps({"error": {"what": "the queue is full"}, "detail": "the queue is full"})
            return route.fulfill(status=429, headers={"Retry-After": "1"}, content_type="application/json", body=body)
        return route.continue_()

    sketch.route("**/v1/jobs", full_once)
    sketch.evaluate("hackamore.api.submit({prompt: 'hills', steps: 1}).then((job) => (window.accepted = job.id))")
    expect(sketch.locator(".hm-toast.wait", has_text="full")).to_be_visible()
    sketch.wait_for_function("window.accepted")
    sketch.unroute("**/v1/jobs")


def test_a_run_can_be_stopped(sketch):
    sketch.evaluate("hackamore.settings.restore({prompt: 'hills', steps: 100, num: 8, seed: 1})")
    sketch.click("#hm-generate")
    sketch.click("#hm-stop")
    expect(sketch.locator(".hm-state")).to_have_text("Cancelled")
    expect(sketch.locator("#hm-generate")).to_be_visible()


def test_a_list_of_jobs_holds_no_connections_open(sketch):
    asked = []
    sketch.on("request", lambda request: asked.append(request.url))
    submit = "Promise.all([1, 2, 3, 4, 5, 6, 7].map((seed) => hackamore.api.submit({prompt: 'hills', steps: 8, seed})))"
    jobs = [job["id"] for job in sketch.evaluate(submit)]
    sketch.click("#hm-tab-gallery")
    for job in jobs:
        expect(sketch.locator(f"[data-job='{job}'] img")).to_be_visible()
    assert not [url for url in asked if url.endswith("/events")]


def test_a_token_is_asked_for_and_kept_for_pictures(blank, address):
    page = blank

    def guarded(route):
        if route.request.headers.get("authorization") == "Bearer open-sesame":
            return route.continue_()
        body = json.dumps({"error": {"what": "the token is missing or wrong"}})
        return route.fulfill(status=401, content_type="application/json", body=body)

    page.route("**/v1/**", guarded)
    page.goto(f"{address}#models")
    for wrong in ("열려라참깨", "open-barley"):
        page.fill("dialog input", wrong)
        page.keyboard.press("Enter")
        expect(page.locator("dialog input")).to_have_value("")
        expect(page.locator("dialog")).to_have_count(1)
        expect(page.locator("dialog [role=alert]")).to_contain_text("not the one" if wrong.isascii() else "one")
    page.fill("dialog input", "open-sesame")
    page.keyboard.press("Enter")
    expect(page.locator("#hm-panel-models")).to_be_visible()
    (cookie,) = [one for one in page.context.cookies() if one["name"] == "hackamore_token"]
    assert (cookie["value"], cookie["sameSite"]) == ("open-sesame", "Strict")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/gradio_api/file=/etc/passwd"),
        ("GET", "/gradio_api/file/etc/passwd"),
        ("GET", "/file=/etc/passwd"),
        ("GET", "/gradio_api/proxy=http://127.0.0.1/"),
        ("POST", "/gradio_api/upload"),
        ("POST", "/gradio_api/queue/join"),
        ("POST", "/gradio_api/run/predict"),
        ("POST", "/gradio_api/component_server"),
        ("POST", "/login"),
        ("GET", "/canvas/../page.py"),
        ("GET", "/canvas/%2e%2e/page.py"),
        ("GET", "/canvas//etc/passwd"),
        ("GET", "/static/%2e%2e/%2e%2e/routes.py"),
    ],
)
def test_no_door_of_gradio_is_open(server, method, path):
    with pytest.raises(HTTPError) as caught:
        urlopen(Request(server + path, method=method, data=b"{}" if method == "POST" else None))
    assert caught.value.code in (404, 405)
    caught.value.close()
