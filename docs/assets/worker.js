/* In the frame that search.js opens where a browser allows no worker: runs the worker's script, and hands messages on. */
const page = parent;
self.parent = self;
self.postMessage = (message) => page.postMessage(message, "*");
const script = document.createElement("script");
script.src = decodeURIComponent(location.hash.slice(1));
script.onload = () => page.postMessage("ready", "*");
document.head.append(script);
