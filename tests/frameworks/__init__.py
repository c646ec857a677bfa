"""Applications of Next.js and Nuxt that use the npm package, built for real; `make frameworks` runs these tests."""
