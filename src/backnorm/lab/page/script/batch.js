// The batch that parts 2, 3, 5 and 7 compute with, and the gradient that comes from the loss.

const LOWEST = 0, HIGHEST = 10;
const batch = { x: [1, 2, 4, 8], dy: [1, 0, 0, 0] };

// Equal values have no variance, and eps is 0 here: such a move is not made.
function move(j, value) {
  const bounded = Math.min(HIGHEST, Math.max(LOWEST, Math.round(value * 100) / 100));
  const x = batch.x.map((entry, i) => (i === j ? bounded : entry));
  if (forward(x).v < 1e-3) return;
  batch.x = x;
  announce("batch");
}

function pass(j, value) {
  batch.dy = batch.dy.map((entry, i) => (i === j ? value : entry));
  announce("batch");
}
