// Postrider: swaps in pieces that the server drew. Without it every page reads, and every decision works.
(() => {
  "use strict";
  const $ = (q, el = document) => el.querySelector(q), $$ = (q, el = document) => [...el.querySelectorAll(q)];
  const root = document.documentElement, body = document.body;
  const year = "; path=/; max-age=31536000; samesite=strict";
  const keep = (name, value) => { document.cookie = name + "=" + value + year; };

  // The zone is the server's to write in: known from the second page on.
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
  if (zone && !document.cookie.split("; ").includes("tz=" + zone)) {
    keep("tz", zone);
    if (body.dataset.feed && !sessionStorage.tz) { sessionStorage.tz = zone; location.reload(); return; }
  }

  // Colours: a cookie, so that the server writes them and nothing flashes.
  $$(".theme button").forEach((b) => b.addEventListener("click", () => {
    const t = b.dataset.theme;
    if (t === "auto") root.removeAttribute("data-theme"); else root.dataset.theme = t;
    keep("theme", t);
    $$(".theme button").forEach((o) => o.setAttribute("aria-pressed", String(o.dataset.theme === t)));
  }));

  // Keys.
  const go = { o: "/", f: "/flows", r: "/runs", m: "/messages", s: "/schedule", a: "/accounts", p: "/phones" };
  const keysOn = () => localStorage.keys !== "off";
  const box = $("#keys-on");
  if (box) { box.checked = keysOn(); box.addEventListener("change", () => { localStorage.keys = box.checked ? "on" : "off"; }); }
  let g = 0;
  document.addEventListener("keydown", (ev) => {
    if (ev.key === "Escape") {
      if (ev.target.closest("input, textarea, select")) ev.target.blur();
      $$("details.pop[open], .tabs details[open]").forEach((d) => { d.open = false; $("summary", d).focus(); });
      return;
    }
    if (ev.target.closest("input, textarea, select") || ev.metaKey || ev.ctrlKey || ev.altKey || !keysOn()) return;
    if (g && go[ev.key]) { location.href = go[ev.key]; return; }
    g = ev.key === "g";
    if (ev.key === "/") { const s = $("input[type=search]"); if (s) { ev.preventDefault(); s.focus(); } }
    if (ev.key === "?") location.href = "/keys";
    if (ev.key === "j" || ev.key === "k") {
      const rows = $$("[data-row]"); if (!rows.length) return;
      const at = rows.indexOf(document.activeElement.closest("[data-row]"));
      const to = rows[Math.max(0, Math.min(rows.length - 1, at + (ev.key === "j" ? 1 : -1)))];
      to.focus(); to.scrollIntoView({ block: "nearest" });
    }
  });
  document.addEventListener("click", (ev) => {
    $$("details.pop[open], .tabs details[open]").forEach((d) => { if (!d.contains(ev.target)) d.open = false; });
    const copy = ev.target.closest("[data-copy]");
    if (copy) navigator.clipboard.writeText(copy.dataset.copy).then(() => {
      const said = copy.lastChild.textContent; copy.lastChild.textContent = "Copied"; setTimeout(() => { copy.lastChild.textContent = said; }, 1400);
    }, () => {});
  });

  // Live: an event names what changed; the pieces that show it are asked for anew.
  const words = $$(".live-word"), dots = $$(".live .dot"), said = $("#said");
  const tell = (text, tone) => {
    words.forEach((w) => { w.classList.add("known"); if (w.textContent !== text) w.textContent = text; });
    dots.forEach((d) => { d.className = "dot " + tone; });
  };
  const busy = (el) => {
    const a = document.activeElement;
    return a && el.contains(a) && a.matches("input, textarea, select") && (a.value !== a.defaultValue || a.type === "text");
  };
  const swap = (old, fresh) => {
    if (old.isEqualNode(fresh) || busy(old)) return;
    const open = $$("details[open]", old).map((d) => d.id), focus = document.activeElement && old.contains(document.activeElement) ? document.activeElement.id : "";
    const chat = old.matches(".phone .chat"), end = chat && old.scrollHeight - old.scrollTop - old.clientHeight < 60, top = old.scrollTop;
    const now = document.importNode(fresh, true);
    open.forEach((id) => { const d = id && now.querySelector("#" + CSS.escape(id)); if (d) d.open = true; });
    old.replaceWith(now);
    if (chat) now.scrollTop = end ? now.scrollHeight : top;
    const back = focus && document.getElementById(focus); if (back) back.focus();
  };
  let due = new Set(), timer = 0, asking = false;
  const wants = (el, kinds) => (el.dataset.live || el.dataset.liveList || "").split(" ").some((w) => w === "all" || kinds.has("*") || kinds.has(w) || kinds.has(w.split(":")[0]) && w.includes(":") && kinds.has(w));
  const refresh = async () => {
    timer = 0;
    if (asking) { timer = setTimeout(refresh, 300); return; }
    const kinds = due; due = new Set();
    const pieces = $$("[data-live]").filter((el) => wants(el, kinds));
    const lists = $$("[data-live-list]").filter((el) => wants(el, kinds));
    const fresh = $("#fresh");
    if (!pieces.length && !lists.length && !(fresh && !$("[data-live-list]"))) return;
    asking = true;
    try {
      const answer = await fetch(location.href.split("#")[0], { headers: { accept: "text/html" } });
      if (answer.redirected && new URL(answer.url).pathname === "/sign-in") { location.reload(); return; }
      if (!answer.ok) return;
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      pieces.forEach((el) => { const now = el.id && page.getElementById(el.id); if (now && document.contains(el)) swap(el, now); });
      const old = $("[data-live-list]"), now = page.querySelector("[data-live-list]");
      let count = 0;
      if (now) [...now.children].forEach((row) => { const mine = document.getElementById(row.id); if (mine) swap(mine, row); else count += 1; });
      // New rows wait: nothing moves under the finger.
      if (fresh && (count || (!old && now))) {
        const a = document.createElement("a"); a.href = location.href;
        a.textContent = count + " " + (count === 1 ? fresh.dataset.one : fresh.dataset.many) + ". Show them";
        fresh.replaceChildren(a);
      }
      const need = $("#nav .count.hot"), before = said && said.dataset.needs || "";
      if (said && need && need.textContent !== before) { said.dataset.needs = need.textContent; if (before) said.textContent = need.textContent; }
    } catch { /* the stream says when it is away */ } finally { asking = false; }
  };
  const changed = (kind, id) => {
    due.add(kind); if (id) due.add(kind + ":" + id);
    // Four times a second at most; more are drawn together.
    if (!timer) timer = setTimeout(refresh, 250);
  };
  if (body.dataset.feed && window.EventSource) {
    let stream = null, mark = body.dataset.feed, heard = 0, tries = 0, away = false;
    const back = () => { if (away) { away = false; $("#away").hidden = true; $("#content").classList.remove("blurred"); changed("*"); } };
    const stop = () => { if (stream) { stream.close(); stream = null; } };
    const lost = () => {
      stop(); tell("Not connected", "fail");
      const wait = [1000, 2000, 4000, 5000][Math.min(tries++, 3)];
      if (tries > 1 && !away) { away = true; $("#away").hidden = false; $("#content").classList.add("blurred"); }
      setTimeout(start, wait);
    };
    const start = () => {
      if (stream || document.hidden) return;
      stream = new EventSource("/api/v1/events?after=" + encodeURIComponent(mark));
      stream.onerror = lost;
      const on = (kind, act) => stream.addEventListener(kind, (ev) => { heard = Date.now(); if (ev.lastEventId) mark = ev.lastEventId; act(ev.data ? JSON.parse(ev.data) : {}); });
      on("engine", (engine) => {
        tries = 0; tell("Live", ""); back();
        if (engine.version !== body.dataset.version && !unsaved()) location.reload();
      });
      on("reset", () => changed("*"));
      ["run", "message", "incoming", "occurrence", "account", "phone"].forEach((kind) => on(kind, (it) => changed(kind, it.id || it.name || it.phone)));
      on("flows", () => { changed("flows"); if (editor) theirs(); });
    };
    // Where the script may rest, it does.
    document.addEventListener("visibilitychange", () => { if (document.hidden) { stop(); tell("Resting", "still"); } else { changed("*"); start(); } });
    addEventListener("pagehide", stop);
    start();
  }

  // Forms are sent once, and their sheets close.
  document.addEventListener("submit", (ev) => {
    const form = ev.target;
    if (form.dataset.sent) { ev.preventDefault(); return; }
    if (form.method === "post" && !form.matches(".composer")) { form.dataset.sent = "1"; setTimeout(() => { delete form.dataset.sent; }, 4000); }
  });

  // Phones: typed without leaving the page; scrolled to the newest.
  const toEnd = () => $$(".phone .chat").forEach((c) => { c.scrollTop = c.scrollHeight; });
  toEnd(); addEventListener("load", toEnd);
  document.addEventListener("submit", async (ev) => {
    const form = ev.target;
    if (!form.matches("[data-phone], .choices")) return;
    ev.preventDefault();
    const data = new URLSearchParams(new FormData(form, ev.submitter)), field = $("input[type=text]", form);
    if (field) field.value = "";
    const chat = $(".chat", form.closest(".phone")); if (chat) chat.scrollTop = chat.scrollHeight;
    try {
      const answer = await fetch(form.action, { method: "POST", body: data });
      if (new URL(answer.url).searchParams.has("note")) { location.href = answer.url; return; }
      changed("phone");
    } catch { form.submit(); }
  });
  document.addEventListener("change", (ev) => { if (ev.target.matches(".picture input[type=file]") && ev.target.files.length) ev.target.form.submit(); });

  // The editor: checked a moment after the last key; unsaved text is kept and offered again.
  const editor = $("#editor"), text = editor && $("textarea", editor);
  let first = text && text.value, late = 0, told = false;
  const unsaved = () => Boolean(text && text.value !== first && !told);
  const theirs = async () => { if (editor.dataset.hash) said.textContent = "The flows were changed"; };
  if (text) {
    const key = "text:" + editor.dataset.file, gut = $(".gutter", editor);
    const draw = (findings) => {
      const lines = text.value.split("\n").length;
      const bad = new Map(); findings.forEach((f) => { if (bad.get(f.line) !== "bad") bad.set(f.line, f.severity === "error" ? "bad" : "warn"); });
      gut.replaceChildren(...Array.from({ length: lines }, (_, i) => { const s = document.createElement("span"); s.className = bad.get(i + 1) || ""; s.textContent = i + 1 + "\n"; return s; }));
    };
    const icon = (name) => { const s = document.createElementNS("http://www.w3.org/2000/svg", "svg"), u = document.createElementNS("http://www.w3.org/2000/svg", "use"); s.setAttribute("class", "ic"); s.setAttribute("aria-hidden", "true"); u.setAttribute("href", $("use").getAttribute("href").split("#")[0] + "#i-" + name); s.append(u); return s; };
    const el = (tag, cls, ...kids) => { const e = document.createElement(tag); if (cls) e.className = cls; e.append(...kids); return e; };
    const line = (number) => {
      const link = el("button", "step-line", "line " + number); link.type = "button";
      link.addEventListener("click", () => {
        const before = text.value.split("\n").slice(0, number - 1).join("\n").length + (number > 1 ? 1 : 0), end = text.value.indexOf("\n", before);
        text.focus(); text.setSelectionRange(before, end < 0 ? text.value.length : end);
      });
      return link;
    };
    const check = async () => {
      late = 0; const asked = text.value;
      try {
        const answer = await fetch("/api/v1/check", { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify({ file: editor.dataset.file, text: asked }) });
        if (!answer.ok || asked !== text.value) return;
        const findings = (await answer.json()).diagnostics, wrong = findings.filter((f) => f.severity === "error").length, hints = findings.length - wrong;
        const many = (n, one) => n + " " + one + (n === 1 ? "" : "s");
        const told = (name, words) => {
          const p = el("p", name), parts = words.replace(/^\p{L}(?=[\p{L},'’]*(\s|$))/u, (first) => first.toUpperCase()).split("`"); p.dir = "auto";
          p.append(...(parts.length % 2 ? parts.map((part, n) => n % 2 ? el("code", "", part) : part) : [parts.join("`")]));
          return p;
        };
        const sum = wrong ? many(wrong, "mistake") + (hints ? ", " + many(hints, "hint") : "") : hints ? "no mistakes, " + many(hints, "hint") : "no mistakes";
        const state = $("#weighed"); state.className = "st " + (wrong ? "fail" : hints ? "wait" : "ok");
        state.replaceChildren(icon(wrong ? "fail" : hints ? "alert" : "check"), el("span", "", sum));
        $("#anyway").hidden = !wrong; $("#checked").textContent = "checked";
        draw(findings);
        const rows = findings.map((f) => {
          const tone = f.severity === "error" ? "fail" : "wait", words = el("div", "");
          words.append(told("strong", f.message)); if (f.hint) words.append(told("small dim", f.hint));
          return el("li", "row", el("span", "st " + tone, icon(tone === "fail" ? "fail" : "alert")), words, el("div", "btns", f.line && f.file === editor.dataset.file ? line(f.line) : el("span", "step-line", f.line ? f.file + " line " + f.line : "")));
        });
        const card = $("#findings"); $(".aside", card).textContent = sum;
        $(".rows, p.pad", card).replaceWith(rows.length ? el("ul", "rows", ...rows) : el("p", "pad dim", "Nothing to complain about."));
      } catch { /* the button Check is still there */ }
    };
    text.addEventListener("input", () => {
      const n = text.value.split("\n").length; if (gut.children.length !== n) draw([]);
      $("#checked").textContent = "checking …"; clearTimeout(late); late = setTimeout(check, 300);
      try { localStorage[key] = text.value; } catch { /* full, or not allowed */ }
    });
    const kept = localStorage[key];
    if (kept && kept !== text.value && !$("#note")) {
      const again = el("button", "btn small", "Bring it back"), drop = el("button", "btn small plain", "Let it go"); again.type = drop.type = "button";
      const note = el("div", "note go gap-top", icon("info"), el("p", "strong", "There is a text of yours that was not saved"), el("div", "btns", again, drop));
      again.addEventListener("click", () => { text.value = kept; note.remove(); check(); text.focus(); });
      drop.addEventListener("click", () => { delete localStorage[key]; note.remove(); });
      editor.parentElement.before(note);
    }
    if ($("#findings .rows")) check();
    editor.addEventListener("submit", () => { told = true; delete localStorage[key]; });
    addEventListener("beforeunload", (ev) => { if (unsaved()) ev.preventDefault(); });
    document.addEventListener("keydown", (ev) => { if ((ev.ctrlKey || ev.metaKey) && ev.key === "s") { ev.preventDefault(); $("button[value=save]", editor).click(); } });
  }
})();
