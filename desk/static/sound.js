// What the ear is told, for who looks at the books and not at the screen: one high note, one low, two low. Off until it is asked for.

const notes = { done: [880], look: [330], no: [220, 220] };

export const sound = { on: localStorage.getItem("sound") === "on" };

export function toggleSound() {
  sound.on = !sound.on;
  localStorage.setItem("sound", sound.on ? "on" : "off");
  beep("done");
}

let device;
export function beep(tone) {
  if (!sound.on) return;
  device ??= new AudioContext();
  notes[tone].forEach((pitch, i) => {
    const note = new OscillatorNode(device, { frequency: pitch });
    const volume = new GainNode(device, { gain: 0.15 });
    note.connect(volume).connect(device.destination);
    note.start(device.currentTime + i * 0.2);
    note.stop(device.currentTime + i * 0.2 + 0.12);
  });
}
