import { Component, CUSTOM_ELEMENTS_SCHEMA, signal } from "@angular/core";
import { bootstrapApplication } from "@angular/platform-browser";
import "@image-gateway/web/define";
import { configureSmartImage } from "@image-gateway/web";

configureSmartImage({ baseUrl: "http://127.0.0.1:8080" });

const IDS = ["sunrise", "poster-large", "no-such-image"];

@Component({
  selector: "app-root",
  schemas: [CUSTOM_ELEMENTS_SCHEMA],
  template: `
    <smart-image
      #image
      [attr.image-id]="id()"
      style-name="card"
      alt="Sunrise over hills"
      width="320"
      height="213"
      (statechange)="shown.set($any($event).detail.to)"
    ></smart-image>
    <p>The image is <output>{{ shown() }}</output>.</p>
    <button id="next" (click)="next()">Another image</button>
    <button id="reload" (click)="image.reload({ fresh: true })">Load it again</button>
  `,
})
class App {
  readonly id = signal("sunrise");
  readonly shown = signal("idle");

  next(): void {
    this.id.update((id) => IDS[(IDS.indexOf(id) + 1) % IDS.length] ?? "");
  }
}

bootstrapApplication(App).catch((error: unknown) => reportError(error));
