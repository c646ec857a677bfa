/* The first page where `make run` serves it: in place of the film a picture, which loses COS and comes back. */
(async () => {
  if (!location.pathname.startsWith("/site/")) return; // elsewhere is no gateway
  const AWAY = 2000; // ms after the first failure
  const LIMIT = 15000;
  const { data } = await (await fetch("/dev/images")).json();
  const shown = data.images.find((image) => image.public);
  if (!shown) return;
  await import("/static/smart-image.js");

  const film = document.querySelector(".film");
  const told = document.createElement("output");
  const button = Object.assign(document.createElement("button"), {
    className: "md-button",
    textContent: "Take COS away",
  });

  function picture() {
    const made = document.createElement("smart-image");
    const attributes = { "image-id": shown.image_id, alt: shown.file, "style-name": "card", width: 640, height: 340 };
    for (const [name, value] of Object.entries({ ...attributes, "retry-delay": 500, "retry-max-delay": 1500 }))
      made.setAttribute(name, value);
    made.addEventListener("retry", ({ detail }) => {
      told.textContent = `Attempt ${detail.attempt} failed (${detail.reason}). The next one comes by itself.`;
    });
    made.addEventListener("recover", ({ detail }) => {
      told.textContent = `Shown again, ${(detail.outage / 1000).toFixed(1)} s after it was lost.`;
    });
    return made;
  }

  const pause = (ms) => new Promise((later) => setTimeout(later, ms));

  async function setFault(on) {
    const headers = { "Content-Type": "application/json" };
    await fetch("/dev/faults", { method: "POST", headers, body: JSON.stringify({ fault: "throttle", on }) });
  }

  button.addEventListener("click", async () => {
    button.disabled = true;
    told.textContent = "COS refuses everything, and the picture starts again from nothing.";
    await setFault(true);
    const made = picture();
    film.querySelector("smart-image").replaceWith(made);
    queueMicrotask(() => made.reload({ fresh: true })); // past the browser's cache
    // The gateway tries again itself, before it answers 503.
    await Promise.race([new Promise((failed) => made.addEventListener("retry", failed)), pause(LIMIT)]);
    await pause(AWAY);
    await setFault(false).finally(() => {
      button.disabled = false;
    });
  });

  const caption = document.createElement("figcaption");
  caption.append(told);
  told.textContent = "Live: a picture of a private bucket, from the gateway of make run.";
  film.classList.add("live");
  film.replaceChildren(picture(), button, caption);
})();
