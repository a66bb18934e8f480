import { render } from "preact";
import { App } from "./App";
import "../style.css";
import "./admin.css";

render(<App />, document.getElementById("app")!);
