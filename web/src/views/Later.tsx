// Transfers, loans, and the account's own settings.

import { useState } from "preact/hooks";
import { Loans } from "./Loans";
import { Settings } from "./Settings";
import { Transfers } from "./Transfers";

export function Later() {
  const [isOpen, setOpen] = useState(false);
  return (
    <>
      <Transfers />
      <Loans />
      <div class="wide row">
        <button type="button" aria-expanded={isOpen} onClick={() => setOpen(!isOpen)}>
          Account settings
        </button>
      </div>
      {isOpen && <Settings />}
    </>
  );
}
