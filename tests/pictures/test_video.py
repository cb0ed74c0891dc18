"""Frames of videos with the container's times, whatever the rate; damaged and empty videos; parts that are joined."""

import http.server
import io
import threading

import numpy as np
import pytest

pytest.importorskip("cv2", reason="needs OpenCV: pip install densebone[video]")
import clips
from PIL import Image

from densebone.errors import UserError
from densebone.pictures import video
from densebone.pictures.video import DrawnVideo, Video, first_frame


def read(file, *given):
    with Video(file) as clip:
        frames = list(clip.frames(*given))
        return frames, clip.shortfall()


@pytest.mark.parametrize(("name", "code"), [("a.mp4", "mp4v"), ("a.avi", "MJPG"), ("a.mkv", "mp4v")])
def test_every_frame_comes_with_its_number_and_time(tmp_path, name, code):
    frames, fault = read(clips.write(tmp_path / name, 60, 12.5, code=code))
    assert fault is None and [frame.number for frame in frames] == list(range(60))
    assert [clips.number_of(frame.image) for frame in frames] == list(range(60))
    assert [frame.time for frame in frames] == pytest.approx([number / 12.5 for number in range(60)], abs=1e-3)
    red, green, _ = frames[0].image[30, 16]  # RGB, not BGR
    assert red > 180 and green < 80


def test_times_of_a_variable_rate_are_the_containers(tmp_path):
    file = clips.write(tmp_path / "a.mp4", 40, 20)
    times = clips.vary(file, [1 + number % 4 for number in range(40)])
    assert max(np.diff(times)) > 3 * min(np.diff(times))
    frames, _ = read(file)
    assert [frame.time for frame in frames] == pytest.approx(times, abs=2e-3)


def test_some_frames_and_those_from_one_on(tmp_path):
    file = clips.write(tmp_path / "a.mp4", 30, 10)
    frames, _ = read(file, 7, 5)
    assert [(frame.number, clips.number_of(frame.image)) for frame in frames] == [(n, n) for n in (10, 15, 20, 25)]
    assert [frame.time for frame in frames] == pytest.approx([1, 1.5, 2, 2.5], abs=1e-3)


def test_a_truncated_video_gives_what_it_has_and_says_so(tmp_path):
    file = clips.write(tmp_path / "a.avi", 60, code="MJPG")
    data = file.read_bytes()
    file.write_bytes(data[: len(data) // 2])
    frames, fault = read(file)
    assert 20 < len(frames) < 40 and [clips.number_of(frame.image) for frame in frames] == list(range(len(frames)))
    assert fault == (
        f"ends after frame {len(frames) - 1}, and announces 60: it is truncated or damaged; the frames before are kept"
    )


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, r"a\.mp4: does not exist; give a video file"),
        (b"", r"a\.mp4: is empty; fetch it again"),
        (b"no video at all" * 50, r"a\.mp4: is no video that OpenCV can read, or is damaged"),
        ("cut", r"a\.mp4: is no video that OpenCV can read, or is damaged"),
    ],
)
def test_what_is_no_video(tmp_path, content, words):
    if content == "cut":  # an mp4 ends with its table of contents
        content = clips.write(tmp_path / "a.mp4", 20).read_bytes()[:-600]
    if content is not None:
        (tmp_path / "a.mp4").write_bytes(content)
    with pytest.raises(UserError, match=words):
        first_frame(tmp_path / "a.mp4")
    with pytest.raises(UserError, match="is a folder, a pipe or the like"):
        Video(tmp_path)


def test_no_camera_and_no_opencv(tmp_path, monkeypatch):
    with pytest.raises(UserError, match="camera:99: there is no such camera, or another program has it"):
        Video("camera:99")
    monkeypatch.setitem(__import__("sys").modules, "cv2", None)
    with pytest.raises(UserError, match=r"need OpenCV, .* pip install 'densebone\[video\]'"):
        Video(tmp_path / "a.mp4")


class _Camera(http.server.BaseHTTPRequestHandler):
    """A camera of the network that sends 20 JPEGs, of which the last 5 are smaller, and goes away."""

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        self.end_headers()
        for number in range(20):
            stream = io.BytesIO()
            size = (96, 64) if number < 15 else (64, 48)
            Image.fromarray(clips.frame(number, size)).save(stream, "jpeg", quality=95)
            head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(stream.getvalue())}\r\n\r\n"
            self.wfile.write(head.encode() + stream.getvalue() + b"\r\n")

    def log_message(self, *_):
        pass


@pytest.fixture
def camera():
    """The address of a camera in the network."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Camera)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/stream.mjpg"
    server.shutdown()


def test_a_camera_that_goes_away_keeps_what_it_gave(camera):
    frames, fault = read(camera)
    assert [clips.number_of(frame.image) for frame in frames] == list(range(len(frames)))
    assert [frame.image.shape for frame in frames] == [(64, 96, 3)] * 15 + [(48, 64, 3)] * (len(frames) - 15)
    assert len(frames) >= 19  # FFmpeg may wait for the one after the last
    assert fault == f"gives no more frames after {len(frames)}; what it gave is kept"
    times = [frame.time for frame in frames]
    assert times[0] == 0 and times == sorted(times) and times[-1] < 60


# written videos


@pytest.fixture
def short_parts(monkeypatch):
    monkeypatch.setattr(video, "PART", 10)


def test_parts_become_one_video(tmp_path, short_parts):
    drawn = DrawnVideo(tmp_path / "a.mp4")
    for number in range(25):
        drawn.add(clips.frame(number))
    assert drawn.written == 20 and not (tmp_path / "a.mp4").exists()
    assert drawn.finish(12.5) == tmp_path / "a.mp4"
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]
    frames, _ = read(tmp_path / "a.mp4")
    assert [clips.number_of(frame.image) for frame in frames] == list(range(25))
    assert frames[-1].time == pytest.approx(24 / 12.5, abs=1e-3)
    assert np.abs(frames[9].image.astype(int) - clips.frame(9)).mean() < 6


def test_whole_parts_are_taken_up_and_the_rest_is_not(tmp_path, short_parts):
    whole = DrawnVideo(tmp_path / "whole.mp4")
    first = DrawnVideo(tmp_path / "a.mp4")
    for number in range(25):
        whole.add(clips.frame(number))
        first.add(clips.frame(number))
    whole.finish(10)
    first.close()
    assert [path.name for path in sorted((tmp_path / "a.mp4.parts").iterdir())] == ["000000.avi", "000001.avi"]
    again = DrawnVideo(tmp_path / "a.mp4")
    again.keep(19)  # of the second part a frame is not done after all
    assert again.written == 10
    for number in range(10, 25):
        again.add(clips.frame(number))
    again.finish(10)
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "whole.mp4").read_bytes()
    other = DrawnVideo(tmp_path / "a.mp4", afresh=True)
    assert other.written == 0 and other.finish(10) is None


@pytest.mark.parametrize("rate", [0.5, 23.976, 29.97003, 59.94, 119.88, 387.1234, 1000])
def test_any_rate_is_written(tmp_path, rate):
    drawn = DrawnVideo(tmp_path / "a.mp4")
    for number in range(8):
        drawn.add(clips.frame(number))
    assert drawn.finish(rate) == tmp_path / "a.mp4"
    frames, _ = read(tmp_path / "a.mp4")
    assert frames[-1].time == pytest.approx(7 / rate, rel=1e-3)


def test_frames_of_another_size_are_fitted_into_the_first(tmp_path):
    drawn = DrawnVideo(tmp_path / "a.mp4")
    for size in ((96, 64), (64, 64), (192, 128), (31, 77)):
        drawn.add(np.full((size[1], size[0], 3), 200, np.uint8))
    drawn.finish(5)
    frames, _ = read(tmp_path / "a.mp4")
    assert {frame.image.shape for frame in frames} == {(64, 96, 3)}
    means = [frame.image.mean() / 200 for frame in frames]
    assert means == pytest.approx([1, 64 / 96, 1, round(31 * 64 / 77) / 96], abs=0.05)


def test_without_a_codec_it_becomes_jpegs_in_an_avi_or_a_line(tmp_path, monkeypatch):
    own = video._writer

    def without(*codes):
        monkeypatch.setattr(
            video, "_writer", lambda file, code, *rest: None if code in codes else own(file, code, *rest)
        )

    without("mp4v")
    drawn = DrawnVideo(tmp_path / "a.mp4")
    drawn.add(clips.frame(3))
    assert drawn.finish(5) == tmp_path / "a.mjpeg.avi"
    assert [path.name for path in tmp_path.iterdir()] == ["a.mjpeg.avi"]
    assert clips.number_of(first_frame(tmp_path / "a.mjpeg.avi")) == 3
    without("mp4v", "MJPG")
    with pytest.raises(UserError, match=r"b\.mp4: OpenCV cannot write a video of \(96, 64\) pixels; use --no-draw"):
        DrawnVideo(tmp_path / "b.mp4").add(clips.frame(3))
