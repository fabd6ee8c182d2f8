// Following a job to its end: by server-sent events, and by asking again and again where these do not get through.
export const OVER = new Set(["done", "failed", "cancelled", "expired", "replaced"]);
const KINDS = ["progress", "preview", "over"];
const SILENCE = 20_000;

// watch(id, told, {ask}) -> stop. `told({job, preview})` is called with every state, the last time with one that is over.
// `ask` asks only: a browser holds few connections to one server open, too few for a list of jobs.
// `lost` is called when the server stops answering; it is asked on and on.
export function createWaiter({ at, job, lost }) {
  return function watch(id, told, { ask = false } = {}) {
    let source = null, timer = null, ended = false, silent = false;

    function stop() {
      ended = true;
      source?.close();
      clearTimeout(timer);
    }

    function hear(event) {
      if (ended) return;
      if (OVER.has(event.job.state)) stop();
      told(event);
    }

    async function poll(wait = 400) {
      source?.close();
      clearTimeout(timer);
      if (ended) return;
      try {
        hear({ job: await job(id), preview: null });
        silent = false;
      } catch (error) {
        if (error.status === 0 && !silent) lost(error);
        silent = error.status === 0;
        if (error.status === 404) {
          stop();
          told({ job: { id, state: "failed", pictures: [], error: { what: error.message } }, preview: null });
        }
      }
      if (!ended) timer = setTimeout(() => poll(Math.min(wait * 1.5, 4000)), wait);
    }

    // a proxy that holds events back says nothing at all: then ask
    function watchSilence() {
      clearTimeout(timer);
      timer = setTimeout(poll, SILENCE);
    }

    if (ask || typeof EventSource === "undefined") poll();
    else {
      source = new EventSource(at(id));
      for (const kind of KINDS) {
        source.addEventListener(kind, (event) => {
          watchSilence();
          hear(JSON.parse(event.data));
        });
      }
      source.onerror = () => !ended && poll();
      watchSilence();
    }
    return stop;
  };
}
