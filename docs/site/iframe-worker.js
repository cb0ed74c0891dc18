// Lets the search work in a page that was opened from a folder (file://), where a browser starts no workers: the worker's
// script runs in a hidden frame, and its messages are passed to and fro.
class FrameWorker extends EventTarget {
  constructor(url) {
    super();
    this.waiting = [];
    const frame = document.createElement("iframe");
    frame.hidden = true;
    frame.srcdoc = "<body></body>";
    frame.addEventListener("load", () => this.start(frame.contentWindow, url), { once: true });
    document.body.append(frame);
  }

  start(inner, url) {
    inner.postMessage = data => this.dispatchEvent(new MessageEvent("message", { data }));
    const script = inner.document.createElement("script");
    script.src = new URL(url, location.href);
    script.addEventListener("load", () => {
      this.inner = inner;
      this.waiting.forEach(data => this.postMessage(data));
    });
    inner.document.body.append(script);
  }

  postMessage(data) {
    if (this.inner) this.inner.dispatchEvent(new MessageEvent("message", { data }));
    else this.waiting.push(data);
  }
}

if (location.protocol === "file:") window.Worker = FrameWorker;
