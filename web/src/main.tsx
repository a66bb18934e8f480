import { render } from "preact";
import { App } from "./App";
import { start } from "./live";
import "./style.css";

start();
render(<App />, document.getElementById("app")!);
