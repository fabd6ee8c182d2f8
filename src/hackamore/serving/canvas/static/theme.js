// Dark and light: the system's choice until someone makes another.
export function createTheme(store) {
  const system = matchMedia("(prefers-color-scheme: dark)");
  const chosen = () => store.get("theme") ?? (system.matches ? "dark" : "light");
  const apply = () => {
    document.documentElement.dataset.theme = chosen();
    document.documentElement.style.colorScheme = chosen();
  };
  system.addEventListener("change", apply);
  apply();
  return {
    get dark() { return chosen() === "dark"; },
    toggle() {
      store.set("theme", chosen() === "dark" ? "light" : "dark");
      apply();
    },
  };
}
