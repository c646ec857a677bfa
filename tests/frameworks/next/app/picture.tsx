"use client";
import { configureSmartImage, SmartImage } from "@image-gateway/web/react";
import { useState } from "react";

configureSmartImage({ baseUrl: "http://127.0.0.1:8080" });

export function Picture({ id }: { id: string }) {
  const [attempts, setAttempts] = useState(0);
  return (
    <>
      <SmartImage
        imageId={id}
        styleName="card"
        widths={[320, 640]}
        formats="webp original"
        alt="Sunrise"
        width={320}
        height={213}
        onRetry={({ detail }) => setAttempts(detail.attempt)}
      />
      <smart-image image-id={id} alt="" width={320} height={213} mode="proxy" />
      <output>{attempts}</output>
    </>
  );
}
