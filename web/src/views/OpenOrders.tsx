import { ask } from "../api";
import { bitcoin, rupees } from "../format";
import { attempt, orders, refresh } from "../state";

export function OpenOrders() {
  const cancel = (id: number) =>
    attempt(async () => {
      await ask(`/orders/${id}`, { method: "DELETE" });
      orders.value = orders.value.filter((order) => order.id !== id);
      await refresh();
      return "The order is cancelled, and what it reserved is back.";
    });
  return (
    <section aria-label="Open orders">
      <h2>Open orders</h2>
      {orders.value.length === 0 ? (
        <p class="muted">None.</p>
      ) : (
        <ul class="list">
          {orders.value.map((order) => (
            <li key={order.id}>
              <span>
                {order.side === "buy" ? "Buy" : "Sell"} {bitcoin(order.btc_amount)} for {rupees(order.inr_amount)} at{" "}
                {rupees(order.limit_price)}
              </span>
              <button type="button" onClick={() => cancel(order.id)}>
                Cancel order
              </button>
            </li>
          ))}
        </ul>
      )}
    </section>
  );
}
