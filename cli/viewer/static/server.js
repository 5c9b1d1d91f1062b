// Talking to the server: JSON questions, and picture answers as a stream of messages.

async function asked(path, query = {}, options = {}) {
  const response = await fetch(`/api/${path}?${new URLSearchParams(query)}`, options);
  if (response.ok) return response;
  const text = await response.text();
  let reason = text;
  try {
    reason = JSON.parse(text).error;
  } catch { /* not JSON: the text is what there is */ }
  throw new Error(reason || `the server answered ${response.status}`);
}

export async function json(path, query, options) {
  return (await asked(path, query, options)).json();
}

export async function blob(path, query) {
  return (await asked(path, query)).blob();
}

/**
 * Messages as they come. Each is two lengths (uint32, little endian), a JSON object and bytes;
 * the bytes, where there are any, are a PNG and become `url`.
 */
export async function* messages(path, query, signal) {
  const reader = (await asked(path, query, { signal })).body.getReader();
  let parts = [], size = 0;
  // Joins the parts only when enough is there: a large picture comes in hundreds of them.
  const take = async (count) => {
    while (size < count) {
      const { done, value } = await reader.read();
      if (done) return null;
      parts.push(value);
      size += value.length;
    }
    const all = new Uint8Array(size);
    let at = 0;
    for (const part of parts) {
      all.set(part, at);
      at += part.length;
    }
    parts = [all.subarray(count)];
    size -= count;
    return all.subarray(0, count);
  };
  for (;;) {
    const lengths = await take(8);
    if (!lengths) return;
    const view = new DataView(lengths.buffer, lengths.byteOffset, 8);
    const head = await take(view.getUint32(0, true));
    const count = view.getUint32(4, true);
    const body = await take(count);
    if (!head || !body) throw new Error("the connection to the viewer ended");
    const message = JSON.parse(new TextDecoder().decode(head));
    if (count) message.url = URL.createObjectURL(new Blob([body], { type: "image/png" }));
    yield message;
  }
}
