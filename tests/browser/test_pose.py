"""People in OpenPose's form: dragged, mirrored, written and read; without a control only drawn and saved."""

import json

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("playwright")
from playwright.sync_api import expect

from hackamore.annotators.pose import draw_people
from hackamore.core.skeleton import COLOURS, JOINTS, MIRRORED, from_openpose
from tests.browser.quiet import generated, hint_of
from tests.browser.running import PATIENCE, serving

expect.set_options(timeout=PATIENCE)

TAB = "pose"
FRAME = ".po-frame"
WRIST = JOINTS.index("right wrist")
HIP = JOINTS.index("left hip")


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A server whose Meadow takes poses: with another control's weights, as it matters not what becomes of them."""
    with serving(tmp_path_factory.mktemp("poses"), "--control", "poses=meadow/canny,base=meadow,kind=pose") as address:
        yield address


@pytest.fixture
def pose(desk):
    """One standing person, and nothing to be undone."""
    desk.evaluate("window.first ??= hackamore.tabs.pose.state(); hackamore.tabs.pose.restore(first)")
    desk.evaluate("changes.length = 0; scrollTo(0, 0)")
    desk.uncheck("#po-follow")
    return desk


def people(page):
    asked = page.evaluate("hackamore.units.all()")
    assert [unit["kind"] for unit in asked] == ["pose"]
    return from_openpose(asked[0]["people"])[0]


def spot(page, joint):
    """Where a joint is on the screen."""
    page.locator(FRAME).scroll_into_view_if_needed()
    box, (x, y, _) = page.locator(FRAME).bounding_box(), people(page).people[-1].body[joint]
    width, height = people(page).size
    return box["x"] + float(x) * box["width"] / width, box["y"] + float(y) * box["height"] / height


def drag(page, start, by):
    page.mouse.move(*start)
    page.mouse.down()
    page.mouse.move(start[0] + by[0] / 2, start[1] + by[1] / 2)
    page.mouse.move(start[0] + by[0], start[1] + by[1])
    page.mouse.up()


def test_a_joint_is_dragged_alone_or_with_what_hangs_on_it_and_undone(pose):
    before = people(pose).people[0].body
    drag(pose, spot(pose, WRIST), (-30, -60))
    after = people(pose).people[0].body
    moved = np.flatnonzero(np.abs(after - before).max(1) > 0.05)
    assert moved.tolist() == [WRIST]
    assert (after[WRIST] < before[WRIST])[:2].all()
    assert pose.evaluate("changes") == ["pose"]
    pose.check("#po-follow")
    drag(pose, spot(pose, HIP), (24, 10))
    followed = np.flatnonzero(np.abs(people(pose).people[0].body - after).max(1) > 0.05)
    assert followed.tolist() == [HIP, HIP + 1, HIP + 2]
    pose.click("[data-act=undo]")
    pose.keyboard.press("Control+z")
    assert np.allclose(people(pose).people[0].body, before)
    pose.keyboard.press("Control+Shift+z")
    assert np.allclose(people(pose).people[0].body, after)


def test_a_press_that_moves_nothing_changes_nothing(pose):
    drag(pose, spot(pose, WRIST), (0, 0))
    box = pose.locator(FRAME).bounding_box()
    drag(pose, (box["x"] + 5, box["y"] + 5), (40, 40))
    assert pose.evaluate("changes") == []


def test_people_are_added_mirrored_and_removed(pose):
    first = people(pose).people[0]
    pose.select_option("select[data-act=add]", "walking")
    both = people(pose).people
    assert len(both) == 2
    assert np.allclose(both[0].body, first.body)
    pose.click("[data-act=mirror]")
    mirrored = people(pose).people[1].body
    middle = both[1].body[:, 0].min() + both[1].body[:, 0].max()
    assert np.allclose(mirrored[:, 0], middle - both[1].body[list(MIRRORED), 0], atol=0.05)
    assert np.allclose(mirrored[:, 1], both[1].body[list(MIRRORED), 1], atol=0.05)
    pose.click("[data-act=larger]")
    assert np.ptp(people(pose).people[1].body[:, 1]) == pytest.approx(1.1 * np.ptp(mirrored[:, 1]), rel=0.01)
    pose.click(".un-tools [data-act=person]")
    assert len(people(pose).people) == 1
    pose.click(".un-tools [data-act=person]")
    assert pose.evaluate("hackamore.units.all()") == []
    expect(pose.locator(".po-said")).to_contain_text("Nobody")


def test_keys_choose_move_and_remove_a_joint_and_a_list_puts_it_back(pose):
    pose.focus(FRAME)
    for _ in range(WRIST + 1):
        pose.keyboard.press("PageDown")
    expect(pose.locator(".po-said")).to_have_text("Right wrist")
    before = people(pose).people[0].body[WRIST]
    pose.keyboard.press("ArrowLeft")
    after = people(pose).people[0].body[WRIST]
    assert after[0] == pytest.approx(before[0] - 1.28, abs=0.02)
    pose.keyboard.press("Delete")
    assert people(pose).people[0].visible.sum() == len(JOINTS) - 1
    pose.select_option("#po-joints", str(WRIST))
    assert people(pose).people[0].visible.all()


def test_json_goes_out_and_comes_in_as_openpose_has_it(pose):
    drag(pose, spot(pose, WRIST), (-30, -60))
    with pose.expect_download() as saved:
        pose.click("[data-act=save]")
    text = saved.value.path().read_text()
    assert saved.value.suggested_filename == "pose.json"
    out = from_openpose(json.loads(text))[0]
    assert np.allclose(out.people[0].body, people(pose).people[0].body)
    other = {
        "people": [{"pose_keypoints_2d": [0.5, 0.5, 1] * 18, "hand_left_keypoints_2d": [0.25, 0.75, 0.9] * 21}],
        "canvas_width": 640,
        "canvas_height": 640,
    }
    pose.set_input_files(
        ".po-tab input[type=file]",
        {"name": "p.json", "mimeType": "application/json", "buffer": json.dumps([other]).encode()},
    )
    pose.wait_for_function("changes.length === 2")
    read = people(pose)
    assert read.size == (128, 128)
    assert np.allclose(read.people[0].body[:, :2], 64)
    assert np.allclose(read.people[0].left_hand[:, :2], (32, 96))
    pose.set_input_files(
        ".po-tab input[type=file]", {"name": "p.json", "mimeType": "application/json", "buffer": text.encode()}
    )
    pose.wait_for_function("changes.length === 3")
    assert np.allclose(people(pose).people[0].body, out.people[0].body)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "not JSON"),
        ("[]", "no list of people"),
        ('{"people": [{}]}', "canvas_width"),
        ('{"people": [], "canvas_width": 9, "canvas_height": 9}', "Nobody"),
        ('{"people": [{"pose_keypoints_2d": [1, 2]}], "canvas_width": 9, "canvas_height": 9}', "18 × 3"),
    ],
)
def test_wrong_json_is_told_in_words_and_changes_nothing(pose, text, words):
    pose.set_input_files(
        ".po-tab input[type=file]", {"name": "p.json", "mimeType": "application/json", "buffer": text.encode()}
    )
    expect(pose.locator(".po-desk .hm-error")).to_contain_text(words)
    assert pose.evaluate("changes") == []
    assert len(people(pose).people) == 1


def test_a_pose_steers_a_picture_with_the_hint_that_was_seen(pose):
    drag(pose, spot(pose, WRIST), (-30, -60))
    job = generated(pose)
    assert [unit["control"] for unit in job["pictures"][0]["units"]] == ["poses"]
    assert (hint_of(pose, job) == draw_people(people(pose))).all()


def test_two_fingers_scale_a_person(open_page):
    page = open_page("pose", has_touch=True, width=390, height=844)
    before = people(page).people[0].body
    page.evaluate(
        """() => {
            const frame = document.querySelector(".po-frame");
            frame.scrollIntoView();
            const box = frame.getBoundingClientRect();
            const tell = (type, pointerId, x, y) => frame.dispatchEvent(new PointerEvent(type, {
                pointerId, pointerType: "touch", isPrimary: pointerId === 1, button: 0, bubbles: true,
                clientX: box.left + x * box.width, clientY: box.top + y * box.height,
            }));
            tell("pointerdown", 1, 0.1, 0.5);
            tell("pointerdown", 2, 0.9, 0.5);
            tell("pointermove", 1, 0.3, 0.5);
            tell("pointermove", 2, 0.7, 0.5);
            tell("pointerup", 1, 0.3, 0.5);
            tell("pointerup", 2, 0.7, 0.5);
        }"""
    )
    after = people(page).people[0].body
    assert np.ptp(after[:, 1]) == pytest.approx(np.ptp(before[:, 1]) / 2, rel=0.02)


def test_a_base_without_a_control_for_poses_says_so(open_page):
    page = open_page("pose", ready=False)
    page.route("**/v1/info", lambda route: _without_poses(route))
    page.reload()
    expect(page.locator(".po-closed")).to_contain_text("meadow has no pose control")
    expect(page.locator(".po-closed")).to_contain_text("Edges, Materials")
    expect(page.locator(".lv-pill")).to_have_text("meadow has no pose control.")
    assert page.evaluate("hackamore.tabs.pose.hint()") is None
    assert page.evaluate("hackamore.tabs.pose.empty()")
    page.click(".un-tools [data-act=mirror]")
    with page.expect_download() as saved:
        page.click("[data-act=save]")
    person = from_openpose(json.loads(saved.value.path().read_text()))[0].people[0]
    with page.expect_download() as saved:
        page.click("[data-act=png]")
    seen = np.asarray(Image.open(saved.value.path()).convert("RGB"))
    assert seen.shape == (512, 512, 3)
    assert (seen[0, 0] == 0).all()
    for (x, y), colour in zip(person.body[:, :2] * 4, COLOURS, strict=True):
        assert np.abs(seen[int(y), int(x)].astype(int) - colour).max() < 40


def _without_poses(route):
    told = route.fetch().json()
    told["controls"] = {
        base: [one for one in known if one["kind"] != "pose"] for base, known in told["controls"].items()
    }
    route.fulfill(json=told)
