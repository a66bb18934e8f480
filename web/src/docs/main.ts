// Swagger UI on this server's own document. Nothing is asked of other servers, and the token is kept nowhere.

import SwaggerUI from "swagger-ui-dist/swagger-ui-es-bundle.js";
import "swagger-ui-dist/swagger-ui.css";
import "./docs.css";

SwaggerUI({
  url: "/api/openapi.json",
  domNode: document.getElementById("api")!,
  deepLinking: true,
  docExpansion: "list",
  defaultModelsExpandDepth: 0,
  filter: true,
  persistAuthorization: false,
  queryConfigEnabled: false, // or a link could show another's document under our name
  tryItOutEnabled: true,
  validatorUrl: null,
});
