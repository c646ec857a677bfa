/** Types of `@image-gateway/web/smart-image.css`, which is imported for its effect alone. */
export {};
