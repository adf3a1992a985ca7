// Numbers and times for people.

const units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];

export function bytes(n) {
  let unit = 0;
  while (n >= 1024 && unit < units.length - 1) {
    n /= 1024;
    unit++;
  }
  return (unit === 0 ? n : n.toFixed(1)) + " " + units[unit];
}

export const count = (n) => n.toLocaleString("en");

export const percent = (fraction) => Math.floor(fraction * 100) + " %";

// ratio is a share of a number of runs: with a digit behind the point where that says more.
export function ratio(part, all) {
  const value = (100 * part) / all;
  return (value > 0 && value < 10 ? value.toFixed(1) : Math.round(value)) + " %";
}

// took is the time between two moments, up to now if there is no second one.
export function took(begin, end) {
  if (!begin) return "";
  return span(Math.max(0, ((end ? Date.parse(end) : Date.now()) - Date.parse(begin)) / 1000));
}

export function span(seconds) {
  if (seconds < 10) return seconds.toFixed(1) + " s";
  if (seconds < 60) return Math.floor(seconds) + " s";
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return minutes + " min " + Math.floor(seconds % 60) + " s";
  if (minutes < 48 * 60) return Math.floor(minutes / 60) + " h " + (minutes % 60) + " min";
  return Math.floor(minutes / 60 / 24) + " d";
}

// brief is a duration in one or two units, without fractions where it can be: "30 s", "5 min", "1 h 20 min".
export function brief(seconds) {
  if (seconds < 60) return +seconds.toFixed(1) + " s";
  const minutes = Math.floor(seconds / 60);
  const rest = Math.floor(seconds % 60);
  if (minutes < 60) return minutes + " min" + (rest ? ` ${rest} s` : "");
  return Math.floor(minutes / 60) + " h" + (minutes % 60 ? ` ${minutes % 60} min` : "");
}

// time is a moment in the browser's zone; its day is left out when it is today.
export function time(moment) {
  if (!moment) return "";
  const t = new Date(moment);
  const day = t.toDateString() === new Date().toDateString() ? "" : t.toLocaleDateString("sv") + " ";
  return day + t.toLocaleTimeString("sv");
}

// exact is a moment with its day and the zone's distance from UTC: "2013-07-04 16:05:00 UTC+02:00".
export function exact(moment) {
  if (!moment) return "";
  const t = new Date(moment);
  const offset = -t.getTimezoneOffset();
  const part = (n) => String(Math.trunc(Math.abs(n))).padStart(2, "0");
  return `${t.toLocaleDateString("sv")} ${t.toLocaleTimeString("sv")} UTC${offset < 0 ? "-" : "+"}${part(offset / 60)}:${part(offset % 60)}`;
}
