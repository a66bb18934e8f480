import preact from "@preact/preset-vite";
import { defineConfig } from "vite";

export default defineConfig({
  plugins: [preact()],
  build: {
    target: "es2022",
    modulePreload: { polyfill: false }, // the polyfill would be an inline script, which our policy refuses
    assetsInlineLimit: 0,
    // Customers load nothing of the other pages but what is theirs too.
    rollupOptions: { input: ["index.html", "admin.html", "docs.html"] },
    chunkSizeWarningLimit: 1600, // Swagger UI, which only its own page loads
  },
  server: {
    proxy: {
      "/api": "http://127.0.0.1:3001",
      "/socket.io": { target: "http://127.0.0.1:3001", ws: true },
    },
  },
});
