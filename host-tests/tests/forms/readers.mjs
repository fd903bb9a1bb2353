// Reads forms with busboy and with undici, the fetch of Node; see readers.py for input and output.

import { text } from "node:stream/consumers";
import busboy from "busboy";

const withBusboy = (type, body) =>
  new Promise((resolve, reject) => {
    const fields = [];
    const reader = busboy({ headers: { "content-type": type } });
    reader.on("field", (name, value) => fields.push([name ?? "", value ?? ""]));
    reader.on("file", (_name, stream) => stream.resume());
    reader.on("error", reject);
    reader.on("close", () => resolve(fields));
    reader.end(body);
  });

const withUndici = async (type, body) => {
  const form = await new Response(body, { headers: { "content-type": type } }).formData();
  return [...form].filter(([, value]) => typeof value === "string");
};

const found = [];
for (const { type, body } of JSON.parse(await text(process.stdin))) {
  const bytes = Buffer.from(body, "base64");
  const read = async (reader) => {
    try {
      return await reader(type, bytes);
    } catch {
      return null; // A reader that refuses a form reads no field.
    }
  };
  found.push({ busboy: await read(withBusboy), undici: await read(withUndici) });
}
process.stdout.write(JSON.stringify(found));
