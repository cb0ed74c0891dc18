"use strict";

// Everything that comes from the server is put into the page as text, never as HTML.

const at = (id) => document.getElementById(id);
const SVG = "http://www.w3.org/2000/svg";
const SMALLEST = 0.05; // boxes that the slider can show
let models = [];
let usual = 0.5;
let asked = 0; // the number of the latest question: answers to earlier ones are dropped
let shown = null; // the latest answer
let file = null;

function headers() {
  return at("key").value ? { Authorization: "Bearer " + at("key").value } : {};
}

function say(text, bad = false) {
  at("status").textContent = text;
  at("status").classList.toggle("bad", bad);
}

async function ask(path, options = {}) {
  const answer = await fetch(path, { ...options, headers: { ...headers(), ...options.headers } });
  if (answer.status === 401) at("key-label").hidden = false;
  const content = await answer.json();
  if (!answer.ok) throw new Error(content.error);
  return content;
}

async function load() {
  try {
    const content = await ask("models");
    models = content.models.filter((one) => one.takes_pictures);
    usual = content.threshold;
    at("model").replaceChildren(...models.map((one) => new Option(one.name, one.name)));
    choose();
  } catch (error) {
    say(error.message, true);
  }
}

function model() {
  return models.find((one) => one.name === at("model").value);
}

function choose() {
  const one = model();
  at("about").textContent = one ? `${one.task || "maps"}, ${one.classes.length} classes, ${one.engine}` : "";
  if (!one) say("No model of this server takes pictures.", true);
  at("slider").value = one && one.task === "segmentation" ? 0.6 : usual;
  if (file) look(file);
}

async function look(given) {
  file = given;
  const number = ++asked;
  URL.revokeObjectURL(at("picture").src);
  at("picture").src = URL.createObjectURL(given);
  at("drop").hidden = true;
  at("shown").hidden = at("another").hidden = false;
  clear();
  say("Looking …");
  const start = performance.now();
  try {
    const path = `predict/${encodeURIComponent(model().name)}?threshold=${SMALLEST}&top=10`;
    const kind = given.type || "application/octet-stream";
    const content = await ask(path, { method: "POST", body: given, headers: { "Content-Type": kind } });
    if (number !== asked) return;
    shown = content.pictures[0];
    const time = Math.round(performance.now() - start);
    at("status").dataset.time = `${shown.width} × ${shown.height} pixels, ${time} ms`;
    draw();
  } catch (error) {
    if (number === asked) say(error.message, true);
  }
}

function clear() {
  shown = null;
  at("boxes").replaceChildren();
  at("rows").replaceChildren();
  at("labels").hidden = at("slider-label").hidden = true;
}

function draw() {
  if (!shown) return;
  const value = Number(at("slider").value);
  at("slider-value").textContent = value.toFixed(2);
  at("slider-label").hidden = !(shown.objects || shown.labels);
  at("slider-name").textContent = shown.objects ? "Scores from" : "Opacity";
  if (shown.objects) drawBoxes(shown.objects.filter((one) => one.score >= value));
  else if (shown.labels) drawLabels(value);
  else if (shown.classes) drawRows(shown.classes.map((one) => [one, one.score.toFixed(3)]), "classes");
  else drawRows(shown.maps.map((one) => [{ name: one.shape.join(" × ") }, ""]), "maps");
}

function drawBoxes(objects) {
  at("boxes").setAttribute("viewBox", `0 0 ${shown.width} ${shown.height}`);
  at("boxes").setAttribute("preserveAspectRatio", "none");
  const size = (13 * shown.width) / at("shown").clientWidth; // 13 pixels of the screen
  const groups = objects.map((one) => {
    const [left, top, right, bottom] = one.box;
    const group = document.createElementNS(SVG, "g");
    const rect = document.createElementNS(SVG, "rect");
    const sides = { x: left, y: top, width: Math.max(0, right - left), height: Math.max(0, bottom - top) };
    for (const [name, value] of Object.entries(sides)) rect.setAttribute(name, value);
    rect.setAttribute("stroke", colour(one.label));
    const text = document.createElementNS(SVG, "text");
    text.textContent = `${one.name} ${one.score.toFixed(2)}`;
    const place = { x: left + size / 3, y: Math.max(top, 0) + 1.2 * size, "font-size": size };
    for (const [name, value] of Object.entries(place)) text.setAttribute(name, value);
    group.append(rect, text);
    return group;
  });
  at("boxes").replaceChildren(...groups);
  drawRows(objects.map((one) => [one, one.score.toFixed(2)]), objects.length === 1 ? "object" : "objects");
  [...at("rows").rows].forEach((row, place) => {
    row.onmouseenter = row.onmouseleave = (event) => {
      const chosen = event.type === "mouseenter";
      row.classList.toggle("chosen", chosen);
      groups[place].classList.toggle("chosen", chosen);
    };
  });
}

function drawLabels(opacity) {
  if (at("labels").src !== shown.labels) at("labels").src = shown.labels;
  at("labels").hidden = false;
  at("labels").style.opacity = opacity;
  drawRows(shown.shares.map((one) => [one, (100 * one.share).toFixed(1) + " %"]), "classes");
}

function drawRows(rows, what) {
  say(`${rows.length} ${what}; ${at("status").dataset.time}`);
  at("rows").replaceChildren(...rows.map(([one, value]) => {
    const row = document.createElement("tr");
    const name = row.insertCell();
    if (one.label !== undefined) {
      const swatch = document.createElement("span");
      swatch.className = "swatch";
      swatch.style.background = colour(one.label);
      name.append(swatch);
    }
    name.append(one.name);
    row.insertCell().textContent = value;
    return row;
  }));
}

function colour(label) {
  return model().colours[label] || "#2563eb";
}

function another() {
  file = null;
  asked++;
  clear();
  at("file").value = "";
  at("drop").hidden = false;
  at("shown").hidden = at("another").hidden = true;
  say("No picture yet.");
}

function given(list) {
  if (list.length && model()) look(list[0]);
}

document.addEventListener("dragover", (event) => {
  event.preventDefault();
  document.body.classList.add("over");
});
document.addEventListener("dragleave", () => document.body.classList.remove("over"));
document.addEventListener("drop", (event) => {
  event.preventDefault();
  document.body.classList.remove("over");
  given(event.dataTransfer.files);
});
document.addEventListener("paste", (event) => given(event.clipboardData.files));
at("file").addEventListener("change", () => given(at("file").files));
at("drop").addEventListener("keydown", (event) => {
  if (event.key === "Enter" || event.key === " ") at("file").click();
});
at("model").addEventListener("change", choose);
at("slider").addEventListener("input", draw);
at("another").addEventListener("click", another);
addEventListener("resize", draw);
at("picture").addEventListener("load", draw);
at("key").addEventListener("change", load);
load();
