import { configureSmartImage, imageProxy } from "/static/smart-image.js";
// ../../gateway_dev/web/api.ts
var ApiError = class extends Error {
	status;
	code;
	constructor(status, code, message) {
		super(message);
		this.status = status;
		this.code = code;
	}
};
async function call(method, path, options = {}) {
	const { token, body } = options;
	const headers = {};
	if (token) headers.Authorization = `Bearer ${token}`;
	if (body !== void 0) headers["Content-Type"] = "application/json";
	const answer = await fetch(path, {
		method,
		headers,
		cache: "no-store",
		...body !== void 0 && { body: JSON.stringify(body) }
	});
	const told = await answer.json();
	if (!answer.ok) throw new ApiError(answer.status, told.code ?? "", told.message);
	return told.data;
}
function stack() {
	return call("GET", "/dev/images");
}
// ../../gateway_dev/web/elements.ts
function make(tag, traits = {}, ...children) {
	const made = document.createElement(tag);
	for (const [name, value] of Object.entries(traits)) if (name in made) Reflect.set(made, name, value);
	else if (value !== null && value !== void 0) made.setAttribute(name, String(value));
	made.append(...children);
	return made;
}
function byId(id, type) {
	const found = document.getElementById(id);
	if (!(found instanceof type)) throw new Error(`the page has no ${type.name} #${id}`);
	return found;
}
// ../../gateway_dev/web/breaking.ts
var MOST_EXPIRED = 200;
var RESTART_PAUSE = 2;
var OFFLINE_PAUSE = 4;
var DRAIN_LIMIT = 15e3;
var POLL = 150;
var MOST_LIGHTS = 60;
var FAULTS = {
	throttle: {
		on: "COS answers 503 SlowDown to everything. What is shown stays; turn it off and the rest comes back.",
		off: "COS answers again."
	},
	hang: {
		on: "COS accepts requests and never answers. What is shown stays; turn it off and the rest comes back.",
		off: "COS answers again."
	}
};
var Breaking = class {
	grid;
	trying;
	#told = byId("told", HTMLOutputElement);
	#lights = byId("lights", HTMLDivElement);
	#buttons = [];
	#since;
	constructor(grid, trying, faults) {
		this.grid = grid;
		this.trying = trying;
		this.#onClick("expire", () => this.#expire());
		this.#onClick("restart", () => this.#restart());
		this.#onClick("offline", () => this.#goOffline());
		this.#onClick("again", async () => {
			this.#tell("Every picture begins again from nothing.", true);
			for (const tile of this.grid.shown) tile.restart({ fresh: true });
		});
		for (const name of Object.keys(FAULTS)) {
			const button = this.#onClick(name, () => this.#toggle(name, button));
			button.ariaPressed = String(faults.includes(name));
		}
	}
	changed() {
		const lights = this.grid.shown.slice(0, MOST_LIGHTS).map(({ image, status, isShown }) => make("i", {
			className: isShown && status !== "loaded" ? "kept" : status,
			title: `${image.image_id}: ${isShown && status !== "loaded" ? "shown, and not loaded again yet" : status}`
		}));
		this.#lights.replaceChildren(...lights);
		this.#lights.ariaLabel = byId("count", HTMLOutputElement).textContent;
		if (this.#since === void 0 || !this.grid.shown.length || this.grid.shown.some(({ isPending }) => isPending)) return;
		const count = (wanted) => this.grid.shown.filter(({ status }) => status === wanted).length;
		const loaded = count("loaded");
		const seconds = ((performance.now() - this.#since) / 1e3).toFixed(1);
		this.#since = void 0;
		const still = count("failed");
		this.#tell(`${loaded} pictures are shown, ${seconds} s later${still ? `; ${still} failed` : ""}.`);
	}
	async #expire() {
		const image_ids = this.grid.shown.slice(0, MOST_EXPIRED).map(({ image }) => image.image_id);
		if (!image_ids.length) return;
		await call("POST", "/dev/expire", { body: { image_ids } });
		this.#tell("COS refuses the URLs of these images as expired (403). The gateway signs new ones.", true);
		this.#reload();
	}
	async #toggle(name, button) {
		const on = button.ariaPressed !== "true";
		await call("POST", "/dev/faults", { body: {
			fault: name,
			on
		} });
		button.ariaPressed = String(on);
		const isAnyPending = this.grid.shown.some(({ isPending }) => isPending);
		this.#tell(FAULTS[name][on ? "on" : "off"], !on && isAnyPending);
		if (on) this.#reload();
	}
	async #restart() {
		await this.#stopGateway(RESTART_PAUSE);
		this.#tell("The gateway is away. What is shown stays.", true);
		this.#reload();
		await until(isUp);
		this.#tell("The gateway is back: one picture asks first, then the rest.", true);
	}
	async #goOffline() {
		await this.#stopGateway(OFFLINE_PAUSE);
		Object.defineProperty(navigator, "onLine", {
			value: false,
			configurable: true
		});
		dispatchEvent(new Event("offline"));
		this.#tell(`You are offline for ${OFFLINE_PAUSE} seconds. What is shown stays.`, false);
		this.#reload();
		try {
			await until(isUp);
		} finally {
			Reflect.deleteProperty(navigator, "onLine");
			this.#tell("You are online again.", true);
			dispatchEvent(new Event("online"));
		}
	}
	async #stopGateway(pause) {
		await call("POST", "/dev/restart", { body: { pause } });
		this.#tell("The gateway finishes what it has begun, then stops.");
		await until(async () => !await isUp());
	}
	#reload() {
		for (const tile of this.grid.shown) tile.reload();
		this.trying.reload();
	}
	#tell(text, heals) {
		this.#told.textContent = text;
		if (heals !== void 0) this.#since = heals ? performance.now() : void 0;
	}
	#onClick(id, work) {
		const button = byId(id, HTMLButtonElement);
		this.#buttons.push(button);
		button.addEventListener("click", async () => {
			for (const button of this.#buttons) button.disabled = true;
			try {
				await work();
			} catch (error) {
				this.#tell(`That did not work: ${error instanceof Error ? error.message : error}`);
			} finally {
				for (const button of this.#buttons) button.disabled = false;
				button.focus({ preventScroll: true });
			}
		});
		return button;
	}
};
async function isUp() {
	try {
		return (await fetch("/healthz", { cache: "no-store" })).ok;
	} catch {
		return false;
	}
}
async function until(condition) {
	const deadline = performance.now() + DRAIN_LIMIT;
	while (!await condition()) {
		if (performance.now() > deadline) throw new Error("it took too long");
		await new Promise((resolve) => setTimeout(resolve, POLL));
	}
}
// ../../gateway_dev/web/details.ts
var TIMES = /_at$|^last_access$/;
var Details = class {
	session;
	#dialog = byId("details", HTMLDialogElement);
	#title = byId("details-title", HTMLHeadingElement);
	#body = byId("details-body", HTMLDivElement);
	#generation = 0;
	constructor(session) {
		this.session = session;
		this.#dialog.addEventListener("close", () => this.#body.replaceChildren());
		this.#dialog.addEventListener("click", (event) => event.target === this.#dialog && this.#dialog.close());
	}
	async open(image) {
		const generation = ++this.#generation;
		this.#title.textContent = image.image_id;
		const facts = make("div", { className: "facts" });
		this.#body.replaceChildren(this.#picture(image), facts);
		this.#dialog.showModal();
		const parts = await Promise.all([
			table("File", {
				file: image.file,
				owner: image.owner,
				visibility: image.public ? "public" : "private"
			}),
			this.#ask("Metadata", `/api/v1/images/${image.image_id}/meta`),
			this.#ask("Presigned URL", `/api/v1/images/${image.image_id}/status`),
			this.#headers(image),
			this.#variants(image)
		]);
		if (generation === this.#generation) facts.replaceChildren(...parts.flat());
	}
	#picture(image) {
		return make("smart-image", {
			"image-id": image.image_id,
			alt: image.image_id,
			width: 640,
			height: 420,
			mode: !image.public && this.session.way === "url" ? "url" : "proxy"
		});
	}
	async #ask(title, path) {
		try {
			const { styles: _, ...found } = await call("GET", path, this.#as());
			return [table(title, found)];
		} catch (error) {
			return reason(title, error);
		}
	}
	async #headers(image) {
		const headers = this.session.token ? { Authorization: `Bearer ${this.session.token}` } : {};
		try {
			const answer = await fetch(`/i/${image.image_id}`, {
				method: "HEAD",
				headers,
				cache: "no-store"
			});
			return [table("Answer to HEAD", {
				status: answer.status,
				...Object.fromEntries(answer.headers)
			})];
		} catch (error) {
			return reason("Answer to HEAD", error);
		}
	}
	async #variants(image) {
		const { image_id: id } = image;
		const meta = await call("GET", `/api/v1/images/${id}/meta`, this.#as()).catch(() => void 0);
		const link = image.public || !this.session.owns(image) ? null : await this.session.linkTo(image).catch(() => null);
		const rows = Object.entries(meta?.styles ?? {}).map(([style, { widths, formats }]) => make("div", {}, make("dt", {}, style), make("dd", { className: "variants" }, ...widths.flatMap((width) => formats.map((format) => anchor(imageProxy.proxyUrl(id, {
			style,
			width,
			format,
			link
		}), `${width} ${format}`))))));
		if (!rows.length) {
			const addresses = (await (await fetch("/static/config.json")).json()).styles.map((style) => anchor(imageProxy.proxyUrl(id, {
				style,
				link
			}), style));
			rows.push(make("div", {}, make("dt", {}, "styles"), make("dd", { className: "variants" }, ...addresses)));
		}
		const original = make("dd", { className: "variants" }, anchor(imageProxy.proxyUrl(id, { link }), "original"));
		return [section("Variants", make("dl", {}, make("div", {}, make("dt", {}, "image"), original), ...rows))];
	}
	#as() {
		const { token } = this.session;
		return token ? { token } : {};
	}
};
function section(title, content) {
	return make("section", {}, make("h3", {}, title), content);
}
function table(title, facts) {
	return section(title, make("dl", {}, ...Object.entries(facts).map(([name, value]) => make("div", {}, make("dt", {}, name), make("dd", {}, shown(name, value))))));
}
function reason(title, error) {
	if (error instanceof ApiError && error.code === "not_found") return [];
	return [section(title, make("p", {}, error instanceof ApiError && (error.status === 401 || error.status === 404) ? "Only the owner is told." : error instanceof Error ? error.message : String(error)))];
}
function shown(name, value) {
	if (value === null || value === void 0) return "–";
	if (typeof value === "number" && TIMES.test(name)) return new Date(value * 1e3).toLocaleString();
	return String(value);
}
function anchor(href, text) {
	return make("a", {
		href,
		target: "_blank",
		rel: "noreferrer"
	}, text);
}
// src/core/failure.ts
function isTransient(kind) {
	return /network|timeout|throttled|unavailable|server/.test(kind);
}
// ../../gateway_dev/web/tile.ts
var STYLE = "card";
var WIDTH = 320;
var HEIGHT = 240;
var Tile = class {
	image;
	session;
	events;
	item;
	box;
	name;
	#badge;
	#aside;
	#requestId;
	#picture;
	constructor(image, session, events) {
		this.image = image;
		this.session = session;
		this.events = events;
		const { image_id: id, file } = image;
		this.box = make("input", {
			type: "checkbox",
			ariaLabel: `Select ${id}`
		});
		this.box.addEventListener("click", ({ shiftKey }) => events.selected(this, shiftKey));
		this.name = make("button", {
			type: "button",
			className: "name",
			title: file
		}, id);
		this.name.ariaHasPopup = "dialog";
		this.name.addEventListener("click", () => events.opened(this));
		this.#badge = make("span", { className: "badge" });
		this.#aside = make("span", { className: "owner" });
		this.#picture = this.#makePicture();
		this.item = make("li", { className: "tile" }, this.#picture, this.box, this.name, make("div", { className: "badges" }, this.#badge, this.#aside));
		this.#show();
	}
	get status() {
		const { state } = this.#picture;
		if (state === "loaded") return state;
		if (this.session.isHidden(this.image) && state === "failed") return "hidden";
		return state === "failed" || state === "fallback" ? "failed" : "waiting";
	}
	get isShown() {
		return this.status !== "hidden" && this.#picture.naturalWidth > 0;
	}
	get isPending() {
		const { lastError } = this.#picture;
		return this.status === "waiting" || this.status === "failed" && !!lastError && isTransient(lastError.kind);
	}
	reload() {
		this.#picture.reload({ fresh: true });
	}
	restart({ fresh = false } = {}) {
		const picture = this.#makePicture();
		picture.lazy = this.#picture.state === "idle";
		this.#picture.replaceWith(picture);
		this.#picture = picture;
		if (fresh && !picture.lazy) queueMicrotask(() => picture.reload({ fresh }));
		this.#show();
	}
	#makePicture() {
		const { image, session, events } = this;
		const picture = make("smart-image", {
			"image-id": image.image_id,
			alt: image.image_id,
			"style-name": STYLE,
			width: WIDTH,
			height: HEIGHT,
			lazy: true,
			timeout: 4e3,
			"retry-max-delay": 5e3,
			mode: !image.public && session.way === "url" ? "url" : "proxy"
		});
		const show = () => this.#picture === picture && this.#show();
		picture.addEventListener("statechange", show);
		picture.addEventListener("retry", ({ detail: { attempt, delay, reason } }) => {
			const next = (delay / 1e3).toFixed(1);
			events.happened(this, `attempt ${attempt} failed (${reason}), next in ${next} s`, picture.lastError?.requestId);
			show();
		});
		picture.addEventListener("recover", ({ detail: { attempts, outage } }) => events.happened(this, `shown again after ${(outage / 1e3).toFixed(1)} s and ${attempts} attempts`));
		picture.addEventListener("error", () => {
			const { kind, status, requestId } = picture.lastError ?? {};
			if (!session.isHidden(image)) events.happened(this, `not shown: ${kind}${status ? ` (${status})` : ""}`, requestId);
		});
		picture.addEventListener("click", () => picture.state === "loaded" && events.tried(this));
		const { owner } = image;
		if (owner && session.isHidden(image)) {
			const see = make("button", {
				type: "button",
				onclick: () => events.wanted(owner)
			}, `See it as ${owner}`);
			const said = make("b", {}, `${owner}’s private image`);
			picture.append(make("div", {
				slot: "error",
				className: "private"
			}, said, "For you it does not exist: 404.", see));
		}
		return picture;
	}
	#show() {
		const { state, attempt, lastError } = this.#picture;
		const isRepeated = state === "retrying" && attempt > 0;
		const isHidden = this.status === "hidden";
		this.#badge.textContent = isRepeated ? `retrying (${attempt})` : isHidden ? "hidden" : state;
		this.#badge.title = state === "loaded" ? "" : lastError?.kind ?? "";
		this.item.dataset.status = this.status;
		const { owner } = this.image;
		const whose = this.image.public ? "public" : owner && this.session.owns(this.image) ? "yours" : `${owner}’s`;
		this.#aside.replaceChildren(whose);
		if (state === "loaded") this.#requestId = void 0;
		else if (lastError && !isHidden) this.#linkToCause(lastError.requestId);
		this.events.changed(this);
	}
	async #linkToCause(known) {
		const { image, session } = this;
		this.#requestId ??= known ? Promise.resolve(known) : session.requestIdOf(image, `?style=${STYLE}`);
		const link = session.causeLink(image, await this.#requestId, "why?");
		if (link && this.#picture.lastError && this.#picture.state !== "loaded") this.#aside.replaceChildren(link);
	}
};
// ../../gateway_dev/web/grid.ts
var PAGE = 120;
var Grid = class {
	images;
	session;
	events;
	#tiles = new Map();
	#list = byId("grid", HTMLUListElement);
	#search = byId("search", HTMLInputElement);
	#visibility = byId("visibility", HTMLSelectElement);
	#state = byId("state", HTMLSelectElement);
	#count = byId("count", HTMLOutputElement);
	#all = byId("select-all", HTMLInputElement);
	#selection = byId("selection", HTMLFieldSetElement);
	#more = byId("more", HTMLButtonElement);
	#nothing = byId("nothing", HTMLParagraphElement);
	#limit = PAGE;
	#shown = [];
	#lastSelected;
	#isScheduled = false;
	constructor(images, session, events) {
		this.images = images;
		this.session = session;
		this.events = events;
		for (const field of [
			this.#search,
			this.#visibility,
			this.#state
		]) field.addEventListener("input", () => this.#fill());
		this.#all.addEventListener("change", () => this.#selectAll(this.#all.checked));
		this.#more.addEventListener("click", () => {
			const first = this.#shown.length;
			this.#limit += PAGE;
			this.#fill();
			this.#shown[first]?.name.focus();
		});
		this.#nothing.querySelector("button")?.addEventListener("click", () => {
			for (const field of [
				this.#search,
				this.#visibility,
				this.#state
			]) field.value = "";
			this.#fill();
			this.#search.focus();
		});
		this.#list.addEventListener("keydown", (event) => this.#move(event));
		document.addEventListener("keydown", (event) => {
			if (event.key !== "/" || event.target instanceof HTMLInputElement || event.ctrlKey || event.metaKey) return;
			event.preventDefault();
			this.#search.focus();
		});
		this.#fill();
	}
	get shown() {
		return this.#shown;
	}
	get selected() {
		return this.#shown.filter((tile) => tile.box.checked);
	}
	restartPrivate() {
		for (const tile of this.#tiles.values()) if (!tile.image.public) tile.restart();
	}
	#fill() {
		const text = this.#search.value.trim().toLowerCase();
		const visibility = this.#visibility.value;
		const matching = this.images.filter(({ image_id, file, public: isPublic }) => (!text || image_id.toLowerCase().includes(text) || file.toLowerCase().includes(text)) && (!visibility || isPublic === (visibility === "public")));
		const state = this.#state.value;
		const tiles = matching.slice(0, this.#limit).map((image) => this.#tileOf(image));
		for (const { item, status } of tiles) item.hidden = !!state && status !== state;
		this.#shown = tiles.filter(({ item }) => !item.hidden);
		const items = tiles.map(({ item }) => item);
		if (items.length !== this.#list.children.length || items.some((item, at) => item !== this.#list.children[at])) this.#list.replaceChildren(...items);
		this.#more.hidden = matching.length <= this.#limit;
		this.#tell(matching.length);
	}
	#tileOf(image) {
		const { opened, happened, tried, wanted } = this.events;
		let tile = this.#tiles.get(image.image_id);
		if (!tile) {
			tile = new Tile(image, this.session, {
				opened,
				happened,
				tried,
				wanted,
				changed: () => this.#changed(),
				selected: (chosen, withShift) => this.#select(chosen, withShift)
			});
			this.#tiles.set(image.image_id, tile);
		}
		return tile;
	}
	#changed() {
		if (this.#isScheduled) return;
		this.#isScheduled = true;
		requestAnimationFrame(() => {
			this.#isScheduled = false;
			this.#fill();
			this.events.changed();
		});
	}
	#tell(matching) {
		const shown = this.#shown.filter(({ isShown }) => isShown);
		const words = [`${matching} ${matching === 1 ? "image" : "images"}`, `${shown.length} shown`];
		const reloading = shown.filter(({ status }) => status !== "loaded").length;
		if (reloading) words.push(`${reloading} of them not loaded again yet`);
		for (const status of [
			"waiting",
			"failed",
			"hidden"
		]) {
			const count = this.#shown.filter((tile) => tile.status === status && !tile.isShown).length;
			if (count) words.push(`${count} ${status}`);
		}
		this.#count.textContent = words.join(", ");
		this.#nothing.hidden = this.#shown.length > 0 || !this.images.length;
		const said = this.#nothing.querySelector("output");
		const text = this.#search.value.trim();
		if (said) said.textContent = text ? `No image has “${text}” in its id or file.` : "No image is like that now.";
		const selected = this.selected.length;
		this.#selection.hidden = selected === 0;
		this.#all.checked = selected > 0 && selected === this.#shown.length;
		this.#all.indeterminate = selected > 0 && !this.#all.checked;
	}
	#selectAll(checked) {
		for (const tile of this.#shown) tile.box.checked = checked;
		this.#fill();
	}
	#select(tile, withShift) {
		const from = this.#lastSelected ? this.#shown.indexOf(this.#lastSelected) : -1;
		const to = this.#shown.indexOf(tile);
		if (withShift && from >= 0) {
			const between = this.#shown.slice(Math.min(from, to), Math.max(from, to) + 1);
			for (const other of between) other.box.checked = tile.box.checked;
		}
		this.#lastSelected = tile;
		this.#fill();
	}
	#move(event) {
		const from = this.#shown.findIndex(({ name }) => name === event.target);
		if (from < 0) return;
		const columns = getComputedStyle(this.#list).gridTemplateColumns.split(" ").length;
		const last = this.#shown.length - 1;
		const to = {
			ArrowRight: from + 1,
			ArrowLeft: from - 1,
			ArrowDown: from + columns,
			ArrowUp: from - columns,
			Home: 0,
			End: last
		}[event.key];
		if (to === void 0) return;
		event.preventDefault();
		this.#shown[Math.max(0, Math.min(last, to))]?.name.focus();
	}
};
// ../../gateway_dev/web/log.ts
var MOST$1 = 100;
var Log = class {
	#list = byId("log", HTMLOListElement);
	add(name, text, cause = null) {
		const time = make("time", {}, new Date().toLocaleTimeString());
		const parts = [
			make("b", {}, name),
			` ${text}`,
			...cause ? [" ", cause] : []
		];
		this.#list.prepend(make("li", {}, time, make("span", {}, ...parts)));
		while (this.#list.children.length > MOST$1) this.#list.lastElementChild?.remove();
	}
};
// ../../gateway_dev/web/managing.ts
var PARALLEL = 6;
function manage(grid, session) {
	const done = byId("done", HTMLOutputElement);
	const [refresh, copy, reload] = [
		"refresh",
		"copy",
		"reload"
	].map((id) => byId(id, HTMLButtonElement));
	refresh?.addEventListener("click", async () => {
		done.textContent = "…";
		const results = await each(grid.selected, ({ image }) => imageProxy.refresh(image.image_id));
		const made = results.filter(({ status }) => status === "fulfilled").length;
		const refused = results.length - made;
		done.textContent = `${made} new URLs${refused ? `; ${refused} refused: only the owner may refresh` : ""}`;
		for (const tile of grid.selected) tile.reload();
	});
	copy?.addEventListener("click", async () => {
		const results = await Promise.allSettled(grid.selected.map(({ image }) => session.linkTo(image)));
		const links = results.filter((result) => result.status === "fulfilled").map(({ value }) => location.origin + value);
		const refused = results.length - links.length;
		try {
			await navigator.clipboard.writeText(links.join("\n"));
			done.textContent = `${links.length} copied${refused ? `; ${refused} refused: only the owner makes links` : ""}`;
		} catch {
			done.textContent = "The browser does not allow to copy.";
		}
	});
	reload?.addEventListener("click", () => {
		for (const tile of grid.selected) tile.reload();
		done.textContent = `${grid.selected.length} reloaded`;
	});
}
async function each(tiles, work) {
	const results = [];
	const waiting = [...tiles.entries()];
	const worker = async () => {
		for (let next = waiting.shift(); next; next = waiting.shift()) {
			const [at, tile] = next;
			[results[at]] = await Promise.allSettled([work(tile)]);
		}
	};
	await Promise.all(Array.from({ length: PARALLEL }, worker));
	return results;
}
// ../../gateway_dev/web/links.ts
var LIFETIME = 3600;
var WAIT = 16;
var MOST = 200;
var LinkMaker = class {
	token;
	#waiting = new Map();
	constructor(token) {
		this.token = token;
	}
	make(id) {
		return new Promise((resolve, reject) => {
			if (!this.#waiting.size) setTimeout(() => this.#flush(), WAIT);
			this.#waiting.set(id, [...this.#waiting.get(id) ?? [], {
				resolve,
				reject
			}]);
		});
	}
	#flush() {
		const all = [...this.#waiting];
		this.#waiting = new Map();
		while (all.length) this.#send(all.splice(0, MOST));
	}
	async #send(part) {
		const { token } = this;
		const body = {
			image_ids: part.map(([id]) => id),
			expires_in: LIFETIME
		};
		try {
			const made = await call("POST", "/api/v1/images/links", {
				body,
				...token && { token }
			});
			for (const [id, waiting] of part) {
				const url = made.links[id]?.url;
				for (const caller of waiting) url ? caller.resolve(url) : caller.reject(new Error(made.errors[id] ?? "no answer"));
			}
		} catch (error) {
			for (const caller of part.flatMap(([, waiting]) => waiting)) caller.reject(error);
		}
	}
};
// ../../gateway_dev/web/session.ts
var Session = class {
	tokens;
	console;
	adminToken;
	user = "";
	way = "url";
	#links = new Map();
	#maker = new LinkMaker(void 0);
	#images;
	constructor(images, tokens, console, adminToken) {
		this.tokens = tokens;
		this.console = console;
		this.adminToken = adminToken;
		this.#images = new Map([...images].map((image) => [image.image_id, image]));
		configureSmartImage({
			getLink: (id, { renew }) => this.#linkFor(id, renew),
			monitor: true
		});
	}
	get token() {
		return this.tokens[this.user];
	}
	owns(image) {
		return this.user !== "" && image.owner === this.user;
	}
	become(user, way) {
		this.user = user;
		this.way = way;
		this.#links.clear();
		this.#maker = new LinkMaker(this.token);
		const { token } = this;
		configureSmartImage({ getToken: () => token ?? null });
	}
	isHidden(image) {
		return !image.public && !this.owns(image);
	}
	async requestIdOf({ image_id }, query = "") {
		const headers = this.token ? { Authorization: `Bearer ${this.token}` } : {};
		return (await fetch(`/i/${image_id}${query}`, {
			method: "HEAD",
			headers,
			cache: "no-store"
		}).catch(() => null))?.headers.get("X-Request-Id") ?? null;
	}
	causeLink({ image_id }, requestId, text) {
		if (!this.console) return null;
		const asked = new URLSearchParams({
			image: image_id,
			...this.user && { user: this.user },
			...requestId && { request: requestId },
			token: this.adminToken
		});
		return make("a", {
			href: `${this.console}/#${asked}`,
			target: "_blank",
			rel: "noreferrer",
			className: "out",
			title: "Why? The console looks the request and the image up."
		}, text ?? (requestId ? `request ${requestId.slice(0, 8)}` : "look it up"));
	}
	async linkTo(image) {
		return image.public ? `/i/${image.image_id}` : this.#maker.make(image.image_id);
	}
	async #linkFor(id, renew) {
		const image = this.#images.get(id);
		if (!image || image.public || !this.owns(image)) return null;
		if (renew) this.#links.delete(id);
		let link = this.#links.get(id);
		if (!link) {
			link = this.#maker.make(id);
			this.#links.set(id, link);
			link.catch(() => this.#links.delete(id));
		}
		return link.catch((error) => {
			if (error instanceof ApiError && error.code === "not_found") return null;
			throw error;
		});
	}
};
// ../../gateway_dev/web/measuring.ts
performance.setResourceTimingBufferSize(5e3);
async function measure(address, began) {
	const elapsed = performance.now() - began;
	const entry = await entryOf(address, began);
	if (new URL(address).origin !== location.origin) return {
		source: entry ? "COS itself" : "browser",
		bytes: null,
		time: entry?.duration ?? elapsed,
		type: null,
		pixels: null
	};
	const kept = await fetch(address, { cache: "force-cache" }).catch(() => void 0);
	const body = await kept?.blob().catch(() => void 0);
	const bytes = entry?.encodedBodySize || body?.size || null;
	const pixels = (body && await createImageBitmap(body).catch(() => null)) ?? null;
	const isFromBrowser = !entry || entry.transferSize === 0;
	const status = kept?.headers.get("Cache-Status") ?? "";
	const source = isFromBrowser ? "browser" : /;\s*hit/.test(status) ? "memory" : /fwd/.test(status) ? "COS" : "unknown";
	const type = kept?.headers.get("Content-Type")?.replace(/^image\/|\+xml$/g, "") ?? null;
	return {
		source,
		bytes,
		time: entry?.duration ?? elapsed,
		type,
		pixels
	};
}
async function entryOf(address, began) {
	for (let tries = 0; tries < 3; tries++) {
		const found = performance.getEntriesByName(address, "resource").findLast((entry) => entry.startTime >= began - 1 && entry.duration > 0);
		if (found) return found;
		await new Promise((resolve) => setTimeout(resolve, 20));
	}
}
function bytesText(bytes) {
	const [value, unit] = bytes < 1e6 ? [bytes / 1e3, "kB"] : [bytes / 1e6, "MB"];
	return `${value < 10 ? value.toFixed(1) : Math.round(value)} ${unit}`;
}
// ../../gateway_dev/web/snippets.ts
var LANGUAGES = [
	"HTML",
	"Vue",
	"React",
	"Nuxt",
	"useImage"
];
var LINE = 84;
var STYLE_SHEET = "import \"@image-gateway/web/smart-image.css\";";
function snippet(language, choice, base) {
	return CODE[language](choice, base);
}
var CODE = {
	HTML: (choice, base) => [
		`<link rel="stylesheet" href="${base}/static/smart-image.css">`,
		`<script type="module" src="${base}/static/smart-image.js"><\/script>`,
		"",
		`${wrapped("<smart-image", attributesOf(choice).map(text))}></smart-image>`
	].join("\n"),
	Vue: (choice) => [
		"<script setup>",
		STYLE_SHEET,
		"import { SmartImage } from \"@image-gateway/web/vue\";",
		"<\/script>",
		...template(choice)
	].join("\n"),
	React: (choice) => {
		return [
			STYLE_SHEET,
			"import { SmartImage } from \"@image-gateway/web/react\";",
			"",
			"export const Picture = () => (",
			`${wrapped("  <SmartImage", attributesOf(choice).map(([name, value]) => isNumber(value) ? `${camel(name)}={${value}}` : text([camel(name), value])))} />`,
			");"
		].join("\n");
	},
	Nuxt: (choice, base) => [`// nuxt.config: modules: ["@image-gateway/web/nuxt-module"], imageGateway: { baseUrl: "${base}" }`, ...template(choice)].join("\n"),
	useImage: ({ image, style, widths, formats, ratio, size }) => {
		const [width = size.width, ...otherWidths] = widths;
		const [format, ...otherFormats] = formats;
		return [
			"// Without the element: backgrounds, posters, <picture>, e-mail. Nothing is requested.",
			"import { useImage } from \"@image-gateway/web\";",
			"",
			`const { src } = useImage("${image}", { ${[
				...style ? [`styleName: "${style}"`] : [],
				`width: ${otherWidths.length ? size.width : width}`,
				...ratio ? [`ratio: "${ratio}"`] : [],
				...format && !otherFormats.length ? [`format: "${format}"`] : []
			].join(", ")} });`,
			"hero.style.backgroundImage = \"url(\" + src + \")\";"
		].join("\n");
	}
};
function template(choice) {
	return [
		"<template>",
		`${wrapped("  <SmartImage", attributesOf(choice).map(([name, value]) => (isNumber(value) ? ":" : "") + text([name, value])))} />`,
		"</template>"
	];
}
function attributesOf({ image, style, widths, formats, ratio, mode, size }) {
	const found = [["image-id", image], ["alt", image]];
	if (style) found.push(["style-name", style]);
	if (widths.length) found.push(["widths", widths.join(" ")]);
	if (formats.length) found.push(["formats", formats.join(" ")]);
	if (ratio) found.push(["ratio", ratio]);
	found.push(["width", size.width], ["height", size.height]);
	if (mode !== "proxy") found.push(["mode", mode]);
	return found;
}
function wrapped(tag, attributes) {
	const indent = " ".repeat(tag.search(/\S/) + 2);
	const lines = [tag];
	for (const attribute of attributes) {
		const line = `${lines.at(-1)} ${attribute}`;
		if (line.length <= LINE) lines[lines.length - 1] = line;
		else lines.push(`${indent}${attribute}`);
	}
	return lines.join("\n");
}
function text([name, value]) {
	return `${name}="${value}"`;
}
function isNumber(value) {
	return typeof value === "number";
}
function camel(name) {
	return name.replace(/-(\w)/g, (_, letter) => letter.toUpperCase());
}
var TOKENS = /(?<text>"[^"]*"|\{\d+\})|(?<tag><\/?[\w-]+|\/?>)|(?<word>\b(?:import|from|export|const|setup)\b)|(?<note>\/\/ .*)/g;
function coloured(code) {
	const nodes = [];
	let end = 0;
	for (const match of code.matchAll(TOKENS)) {
		const [kind] = Object.entries(match.groups ?? {}).find(([, text]) => text !== void 0) ?? ["text"];
		nodes.push(code.slice(end, match.index), make("span", { className: `code-${kind}` }, match[0]));
		end = match.index + match[0].length;
	}
	return [...nodes, code.slice(end)];
}
// ../../gateway_dev/web/trying.ts
var SPACE = {
	width: 640,
	height: 427
};
var FIRST = {
	style: "card",
	width: 640
};
var Trying = class {
	images;
	session;
	#stage = byId("stage", HTMLDivElement);
	#image = byId("image", HTMLSelectElement);
	#style = byId("style", HTMLSelectElement);
	#width = byId("width", HTMLSelectElement);
	#ratio = byId("ratio", HTMLSelectElement);
	#format = byId("format", HTMLSelectElement);
	#mode = byId("mode", HTMLSelectElement);
	#fresh = byId("fresh", HTMLButtonElement);
	#measured = byId("measured", HTMLDListElement);
	#loads = byId("loads", HTMLOListElement);
	#code = byId("code", HTMLElement);
	#title = byId("try", HTMLHeadingElement);
	#language = "HTML";
	#meta = {};
	#taken = [];
	#generation = 0;
	constructor(images, session) {
		this.images = images;
		this.session = session;
		this.#image.append(...images.map(({ image_id }) => make("option", { value: image_id }, image_id)));
		this.#image.addEventListener("input", () => this.#begin());
		this.#style.addEventListener("input", () => this.#chooseStyle());
		for (const field of [this.#width, this.#format]) field.addEventListener("input", () => this.#load());
		this.#ratio.addEventListener("input", () => this.#chooseRatio());
		this.#mode.addEventListener("input", () => this.#chooseStyle());
		byId("choices", HTMLFormElement).addEventListener("submit", (event) => {
			event.preventDefault();
			this.#load();
		});
		this.#fresh.addEventListener("click", () => this.#load({ fresh: true }));
		this.#offerLanguages();
	}
	show({ image_id }) {
		this.#image.value = image_id;
		this.#title.closest("section")?.scrollIntoView({ block: "start" });
		this.#title.focus({ preventScroll: true });
		this.#begin();
	}
	restart() {
		this.#begin();
	}
	reload() {
		this.#stage.querySelector("smart-image")?.reload({ fresh: true });
	}
	get #listed() {
		return this.images.find(({ image_id }) => image_id === this.#image.value);
	}
	async #begin() {
		const generation = ++this.#generation;
		const image = this.#listed;
		if (!image) return;
		const { token } = this.session;
		const meta = await call("GET", `/api/v1/images/${image.image_id}/meta`, token ? { token } : {}).catch(() => ({}));
		if (generation !== this.#generation) return;
		this.#meta = meta;
		this.#taken = [];
		const names = Object.entries(meta.styles ?? {});
		const before = this.#style.value || FIRST.style;
		fill(this.#style, [["", "the original"], ...names.map(([name]) => [name, name])], before);
		this.#chooseStyle();
	}
	#chooseRatio() {
		const { value: ratio } = this.#ratio;
		const styles = this.#meta.styles ?? {};
		const cropsTo = (name) => styles[name]?.ratios?.includes(ratio);
		if (ratio && !cropsTo(this.#style.value)) this.#style.value = Object.keys(styles).find(cropsTo) ?? "";
		this.#chooseStyle();
	}
	#chooseStyle() {
		const isUrl = this.#mode.value === "url";
		if (isUrl) this.#style.value = "";
		const style = this.#meta.styles?.[this.#style.value];
		fill(this.#width, [["", "to fit"], ...(style?.widths ?? []).map((width) => [String(width), `${width} px`])], this.#width.value || String(FIRST.width));
		const ratios = [...new Set(Object.values(this.#meta.styles ?? {}).flatMap(({ ratios }) => ratios ?? []))];
		const cropped = style?.ratios?.includes(this.#ratio.value) ? this.#ratio.value : "";
		fill(this.#ratio, [["", "its own"], ...ratios.map((ratio) => [ratio, ratio])], cropped);
		fill(this.#format, [["", "automatic"], ...(style?.formats ?? []).map((format) => [format, format])], this.#format.value);
		this.#style.disabled = isUrl;
		this.#width.disabled = !style?.widths.length;
		this.#ratio.disabled = isUrl || !ratios.length;
		this.#format.disabled = !style?.formats.length;
		this.#fresh.disabled = isUrl;
		this.#load();
	}
	#choice() {
		const { width, height } = this.#meta;
		const style = this.#meta.styles?.[this.#style.value];
		const wanted = Number(this.#width.value) || null;
		const { value: format } = this.#format;
		const isChosen = wanted !== null || format !== "";
		const space = Math.min(wanted ?? SPACE.width, width || SPACE.width);
		const [across = 0, down = 0] = this.#ratio.value.split(":").map(Number);
		const own = width && height ? height / width : SPACE.height / SPACE.width;
		return {
			image: this.#image.value,
			style: this.#style.value,
			widths: wanted ? [wanted] : isChosen ? style?.widths ?? [] : [],
			formats: format ? [format] : isChosen ? style?.formats ?? [] : [],
			ratio: this.#ratio.value,
			mode: this.#mode.value,
			size: {
				width: space,
				height: Math.round(space * (across ? down / across : own))
			}
		};
	}
	#load({ fresh = false } = {}) {
		const image = this.#listed;
		if (!image) return;
		const choice = this.#choice();
		this.#writeCode(choice);
		const { style, widths, formats, ratio, mode } = choice;
		const width = widths.length === 1 ? widths[0] : Math.round(this.#stage.clientWidth);
		const picture = make("smart-image", {
			"image-id": image.image_id,
			alt: image.image_id,
			"style-name": style || null,
			version: style ? this.#meta.version ?? null : null,
			widths: widths.join(" ") || null,
			formats: formats.join(" ") || null,
			ratio: ratio || null,
			sizes: style ? `${width}px` : null,
			mode
		});
		const began = performance.now();
		const generation = ++this.#generation;
		picture.addEventListener("load", async () => {
			const found = await (fresh ? this.#askAgain(picture.currentSrc) : measure(picture.currentSrc, began));
			if (generation === this.#generation) this.#tell(picture, found);
		});
		picture.addEventListener("retry", ({ detail: { attempt, delay } }) => {
			const next = `attempt ${attempt + 1} in ${(delay / 1e3).toFixed(1)} s`;
			if (generation === this.#generation) this.#tellFailure(picture, image, next);
		});
		picture.addEventListener("recover", () => {
			if (generation === this.#generation) this.#measured.replaceChildren(fact("Now", "shown again"));
		});
		picture.addEventListener("error", () => {
			if (generation === this.#generation) this.#tellFailure(picture, image);
		});
		this.#measured.replaceChildren(fact("From", "…"), fact("Bytes", "…"), fact("Time", "…"), fact("Pixels", "…"));
		this.#stage.replaceChildren(picture);
	}
	async #askAgain(address) {
		const began = performance.now();
		await (await fetch(address, { cache: "reload" })).blob();
		return measure(address, began);
	}
	#tell({ naturalWidth, naturalHeight }, found) {
		const { source, bytes, time, type, pixels } = found;
		const { width, height } = pixels ?? {
			width: naturalWidth,
			height: naturalHeight
		};
		const from = fact("From", source);
		from.dataset.source = source;
		this.#measured.replaceChildren(from, fact("Bytes", bytes === null ? "not told" : bytesText(bytes)), fact("Time", `${timeText(time)} ms`), fact("Pixels", `${width} × ${height}${type ? ` ${type}` : ""}`));
		this.#taken = [...this.#taken, {
			label: source,
			found
		}].slice(-3);
		const slowest = Math.max(...this.#taken.map((load) => load.found.time));
		this.#loads.replaceChildren(...this.#taken.map((load) => {
			const bar = make("meter", {
				max: slowest,
				value: load.found.time,
				ariaLabel: `${load.label}, ms`
			});
			const row = make("li", {}, make("span", {}, load.label), bar, make("b", {}, `${timeText(load.found.time)} ms`));
			row.dataset.source = load.found.source;
			return row;
		}));
	}
	async #tellFailure({ lastError }, image, next) {
		const generation = this.#generation;
		const { kind, status } = lastError ?? {};
		const requestId = lastError?.requestId ?? await this.session.requestIdOf(image);
		if (generation !== this.#generation) return;
		const cause = this.session.causeLink(image, requestId) ?? "unknown";
		const why = make("div", {}, make("dt", {}, "Why"), make("dd", {}, cause));
		const failed = fact("Failed", [status, kind].filter(Boolean).join(" "));
		this.#measured.replaceChildren(failed, why, ...next ? [fact("Next", next)] : []);
	}
	#offerLanguages() {
		const place = byId("languages", HTMLFieldSetElement);
		for (const language of LANGUAGES) {
			const radio = make("input", {
				type: "radio",
				name: "language",
				value: language
			});
			radio.checked = language === this.#language;
			radio.addEventListener("input", () => {
				this.#language = language;
				this.#writeCode(this.#choice());
			});
			place.append(make("label", {}, radio, language));
		}
		const copy = byId("copy-code", HTMLButtonElement);
		let timer;
		copy.addEventListener("click", async () => {
			try {
				await navigator.clipboard.writeText(this.#code.textContent ?? "");
				copy.textContent = "Copied";
			} catch {
				copy.textContent = "Not allowed";
			}
			clearTimeout(timer);
			timer = setTimeout(() => {
				copy.textContent = "Copy";
			}, 2e3);
		});
	}
	#writeCode(choice) {
		this.#code.replaceChildren(...coloured(snippet(this.#language, choice, location.origin)));
	}
};
function fill(select, options, value) {
	select.replaceChildren(...options.map(([name, text]) => make("option", { value: name }, text)));
	select.value = options.some(([name]) => name === value) ? value : "";
}
function fact(name, value) {
	return make("div", {}, make("dt", {}, name), make("dd", {}, value));
}
function timeText(ms) {
	return ms < 10 ? ms.toFixed(1) : String(Math.round(ms));
}
// ../../gateway_dev/web/playground.ts
async function start() {
	const { images, tokens, faults, console, site, admin_token: adminToken } = await stack();
	byId("site", HTMLAnchorElement).hidden = !site;
	const users = Object.keys(tokens);
	const session = new Session(images, tokens, console, adminToken);
	session.become(users[0] ?? "", "url");
	const trying = new Trying(images, session);
	const details = new Details(session);
	const log = new Log();
	const grid = new Grid(images, session, {
		changed: () => breaking.changed(),
		happened: ({ image }, text, requestId) => log.add(image.image_id, text, requestId ? session.causeLink(image, requestId) : null),
		opened: ({ image }) => void details.open(image),
		tried: ({ image }) => trying.show(image),
		wanted: (owner) => become(owner)
	});
	const breaking = new Breaking(grid, trying, faults);
	manage(grid, session);
	const become = chooseUser(session, users, () => {
		grid.restartPrivate();
		trying.restart();
	});
	showConsole(console, adminToken);
	trying.restart();
}
function chooseUser(session, users, changed) {
	const way = byId("way", HTMLSelectElement);
	const place = byId("users", HTMLFieldSetElement);
	const radios = [...users, ""].map((value) => make("input", {
		type: "radio",
		name: "user",
		value,
		checked: value === session.user
	}));
	place.append(...radios.map((radio) => make("label", {}, radio, radio.value || "nobody")));
	const become = (user) => {
		for (const radio of radios) radio.checked = radio.value === user;
		session.become(user, way.value);
		changed();
	};
	const chosen = () => become(radios.find(({ checked }) => checked)?.value ?? "");
	place.addEventListener("input", chosen);
	way.addEventListener("input", chosen);
	return become;
}
function showConsole(address, token) {
	const link = byId("console", HTMLAnchorElement);
	link.hidden = !address;
	link.href = `${address}/#token=${token}`;
	link.title = "What is wrong now, and why.";
}
start().catch((error) => {
	byId("told", HTMLOutputElement).textContent = `The playground could not start: ${error}`;
});
